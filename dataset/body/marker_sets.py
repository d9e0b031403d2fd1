"""Marker sets: which points of the skin carry a marker, and which body carries the marker.

Laboratory sets are rigid: each marker belongs to the bone its landmark lies on, not to the body that dominates the skin there
(the spines of the pelvis are skinned to the trunk, the malleoli to the foot: fitted that way the hip came out 80-90 mm wrong).
The dense set is skinned with at most four weights a point, as a learned model sees a body.

Axis legend: M markers, N = 24 bodies, V skin vertices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dataset.body.landmarks import LANDMARK_ROW, LANDMARKS
from dataset.body.model import BodyModel
from dataset.skeleton import BODY_INDEX

MARKER_OFFSET: Final[float] = 0.009
"""Skin to the centre of a laboratory marker along the outward normal [m]: a 14 mm sphere on a 2 mm base."""


@dataclass(frozen=True, kw_only=True)
class MarkerSet:
    """Points on the default body's skin."""

    name: str
    """`plug_in_gait_39`, `cmu_41`, `opencap`, `dense`, or whatever a caller chose."""
    labels: tuple[str, ...]
    """Marker labels in the set's own spelling, length M."""
    vertices: np.ndarray
    """Vertex of the default topology under each marker, shape (M,), int64."""
    landmarks: tuple[str, ...]
    """Landmark under each marker, length M; empty where markers follow the skin."""
    bodies: np.ndarray | None
    """Body that carries each marker rigidly, shape (M,), int64; None where markers follow the skin."""
    offset: float
    """Distance of the marker's centre from the skin [m]."""

    @property
    def num_markers(self) -> int:
        """Number of markers M."""
        return len(self.labels)


_CMU_NAMES: Final[dict[str, str]] = {
    "ASI": "FWT", "PSI": "BWT", "HEE": "HEL", "WRA": "IWR", "WRB": "OWR",
}  # fmt: skip
"""Carnegie Mellon spelling of a side's landmark."""

_OPENCAP_NAMES: Final[dict[str, str]] = {
    "C7": "C7", "RASI": "r.ASIS", "LASI": "L.ASIS", "RPSI": "r.PSIS", "LPSI": "L.PSIS", "RKNE": "r_knee", "LKNE": "L_knee",
    "RKNM": "r_mknee", "LKNM": "L_mknee", "RANK": "r_ankle", "LANK": "L_ankle", "RMED": "r_mankle", "LMED": "L_mankle",
    "RTOE": "r_toe", "LTOE": "L_toe", "RMT5": "r_5meta", "LMT5": "L_5meta", "RHEE": "r_calc", "LHEE": "L_calc",
    "RSHO": "R_Shoulder", "LSHO": "L_Shoulder", "RSTC": "R_Sternum", "LSTC": "L_Sternum", "RELB": "R_elbow_lat",
    "LELB": "L_elbow_lat", "RELM": "R_elbow_med", "LELM": "L_elbow_med", "RWRA": "R_wrist_radius",
    "LWRA": "L_wrist_radius", "RWRB": "R_wrist_ulna", "LWRB": "L_wrist_ulna",
}  # fmt: skip
"""Landmark -> label of OpenCap's laboratory set (Uhlrich et al. 2023) on the Rajagopal (2016) model, without its clusters."""

_PLUG_IN_GAIT: Final[tuple[str, ...]] = (
    "LFHD", "RFHD", "LBHD", "RBHD", "C7", "T10", "CLAV", "STRN", "RBAK", "LSHO", "LUPA", "LELB", "LFRM", "LWRA", "LWRB",
    "LFIN", "RSHO", "RUPA", "RELB", "RFRM", "RWRA", "RWRB", "RFIN", "LASI", "RASI", "LPSI", "RPSI", "LTHI", "LKNE", "LTIB",
    "LANK", "LHEE", "LTOE", "RTHI", "RKNE", "RTIB", "RANK", "RHEE", "RTOE",
)  # fmt: skip

_CMU: Final[tuple[str, ...]] = (
    "LFHD", "RFHD", "LBHD", "RBHD", "C7", "T10", "CLAV", "STRN", "RBAK", "LSHO", "LUPA", "LELB", "LFRM", "LWRA", "LWRB",
    "LFIN", "RSHO", "RUPA", "RELB", "RFRM", "RWRA", "RWRB", "RFIN", "LASI", "RASI", "LPSI", "RPSI", "LTHI", "LKNE", "LSHN",
    "LANK", "LHEE", "LTOE", "LMT5", "RTHI", "RKNE", "RSHN", "RANK", "RHEE", "RTOE", "RMT5",
)  # fmt: skip

DENSE_LEFT: Final[tuple[int, ...]] = (
    7301, 7469, 7635, 7651, 7811, 8034, 8100, 8112, 8139, 8185, 8196, 8230, 8261, 8290, 8366, 8410, 8478, 8601,
    9030, 9464, 10036, 10092, 10122, 10269, 10353, 10452, 10529, 10575, 10597, 10639, 10717, 10738, 10744, 10769,
    10837, 10869, 10880, 10909, 10928, 10942, 10976, 11019, 11047, 11068, 11095, 11104, 11120, 11195, 11226, 11237,
    11306, 11318, 11320, 11350, 11392, 12131, 12349, 12697, 12762, 12937, 12967, 12991, 13029, 13311,
)  # fmt: skip
"""Left vertices of the 64 mirror pairs of the dense set: `dense_points.area_uniform_pairs` on the neutral adult (one point per
147 cm² of skin)."""


def landmark_set(name: str, labels: Sequence[str], landmarks: Sequence[str]) -> MarkerSet:
    """Rigid marker set on named landmarks.

    Args:
        name: Name of the set.
        labels: Label of each marker.
        landmarks: Landmark of each marker (`dataset.body.landmarks.LANDMARKS`), same length.

    Raises:
        ValueError: If a landmark is unknown.
    """
    unknown = [landmark for landmark in landmarks if landmark not in LANDMARKS]
    if unknown:
        raise ValueError(f"landmark_set: unknown landmarks {unknown}; known: {', '.join(sorted(LANDMARKS))}")
    return MarkerSet(
        name=name,
        labels=tuple(labels),
        landmarks=tuple(landmarks),
        vertices=np.array([LANDMARKS[landmark][0] for landmark in landmarks], dtype=np.int64),
        bodies=np.array([BODY_INDEX[LANDMARKS[landmark][1]] for landmark in landmarks], dtype=np.int64),
        offset=MARKER_OFFSET,
    )


def _cmu_label(landmark: str) -> str:
    if landmark == "RBAK":
        return "RBAC"
    return landmark[0] + _CMU_NAMES.get(landmark[1:], landmark[1:]) if landmark[0] in "LR" else landmark


def _dense_set() -> MarkerSet:
    from dataset.body.shape_space import load_shape_space

    space = load_shape_space()
    mirror = dict(zip(space.left_vertex.tolist(), space.right_vertex.tolist()))
    pairs = [(vertex, mirror[vertex]) for vertex in DENSE_LEFT]
    return MarkerSet(
        name="dense",
        labels=tuple(f"{side}{index:02d}" for index in range(len(pairs)) for side in "LR"),
        vertices=np.array(pairs, dtype=np.int64).ravel(),
        landmarks=(),
        bodies=None,
        offset=0.0,
    )


MARKER_SETS: Final[tuple[str, ...]] = ("plug_in_gait_39", "cmu_41", "opencap", "dense")
"""Names that `marker_set` knows."""


def marker_set(name: str) -> MarkerSet:
    """A marker set by name.

    `plug_in_gait_39` (Vicon's full body), `cmu_41` (Carnegie Mellon's spelling, without thumbs), `opencap` (31 anatomical
    markers of OpenCap's laboratory set), `dense` (128 points in mirror pairs: even index left, odd index its mirror image).

    Raises:
        ValueError: If the name is unknown.
    """
    if name == "plug_in_gait_39":
        return landmark_set(name, _PLUG_IN_GAIT, _PLUG_IN_GAIT)
    if name == "cmu_41":
        return landmark_set(name, tuple(map(_cmu_label, _CMU)), _CMU)
    if name == "opencap":
        return landmark_set(name, tuple(_OPENCAP_NAMES.values()), tuple(_OPENCAP_NAMES))
    if name == "dense":
        return _dense_set()
    raise ValueError(f"marker_set: unknown set '{name}'; expected one of {', '.join(MARKER_SETS)}")


def mirror_markers(markers: MarkerSet) -> np.ndarray:
    """Index of the marker that is each marker's mirror image in the sagittal plane, -1 where there is none, shape (M,)."""
    from dataset.body.shape_space import load_shape_space

    space = load_shape_space()
    mirror = np.empty(space.num_vertices, dtype=np.int64)
    mirror[space.left_vertex], mirror[space.right_vertex] = space.right_vertex, space.left_vertex
    position = {int(vertex): index for index, vertex in enumerate(markers.vertices)}
    return np.array([position.get(int(mirror[vertex]), -1) for vertex in markers.vertices])


def marker_points(body: BodyModel, markers: MarkerSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Markers on a body in the rest pose, ready for `kernels.markers.place_markers`.

    Args:
        body: Body.
        markers: Marker set.

    Returns:
        Centres of the markers [m], axes and origin of `body.joint_pos`, shape (M, 3), float64: skin plus `markers.offset`
        along the outward normal (laboratory markers where the bone carries them, `BodyModel.landmark_pos`); bodies that
        carry them, shape (M, 4), int32; their weights, rows summing to 1, shape (M, 4), float32 (rigid markers: weight 1 in
        the first column, the body repeated under zeros).

    On a body of another topology (a user's SMPL file) each marker goes to the skin vertex nearest to where the default body
    of the same subject has it, after moving that point with the joints that carry it: the same place to about a centimetre.
    """
    if not _has_default_topology(body):
        vertices, carried = _transferred(body, markers)
        points = body.vertices[vertices] + markers.offset * _vertex_normals(body)[vertices] + carried
    elif markers.landmarks and body.landmark_pos is not None and body.landmark_normal is not None:
        rows, vertices = [LANDMARK_ROW[landmark] for landmark in markers.landmarks], markers.vertices
        points = body.landmark_pos[rows] + markers.offset * body.landmark_normal[rows]
    else:
        vertices = markers.vertices
        points = body.vertices[vertices] + markers.offset * _vertex_normals(body)[vertices]
    if markers.bodies is not None:
        bodies = np.repeat(markers.bodies[:, None], 4, axis=1).astype(np.int32)
        weights = np.zeros((markers.num_markers, 4), dtype=np.float32)
        weights[:, 0] = 1.0
        return points, bodies, weights
    rows = body.weights[vertices]
    order = np.argsort(-rows, axis=1, kind="stable")[:, :4]
    weights = np.take_along_axis(rows, order, axis=1).astype(np.float32)
    bodies = np.where(weights > 0.0, order, order[:, :1]).astype(np.int32)
    return points, bodies, weights / weights.sum(axis=1, keepdims=True)


def _has_default_topology(body: BodyModel) -> bool:
    from dataset.body.shape_space import load_shape_space

    return len(body.vertices) == load_shape_space().num_vertices


def _transferred(body: BodyModel, markers: MarkerSet) -> tuple[np.ndarray, np.ndarray]:
    """Vertex under each marker on a body of another topology, shape (M,), and how far bones carry markers off it, (M, 3)."""
    from dataset.body.default import MAX_HEIGHT, MIN_HEIGHT, make_body, mass_range

    height = float(np.clip(body.subject.height, MIN_HEIGHT, MAX_HEIGHT))
    subject = dataclasses.replace(body.subject, shape=(), height=height)
    source = make_body(dataclasses.replace(subject, mass=float(np.clip(subject.mass, *mass_range(subject)))))
    moved = source.weights[markers.vertices].astype(np.float64) @ (body.joint_pos - source.joint_pos)
    target = source.vertices[markers.vertices] + moved
    nearest = np.array([np.linalg.norm(body.vertices - point, axis=1).argmin() for point in target], dtype=np.int64)
    if not markers.landmarks or source.landmark_pos is None:
        return nearest, np.zeros((markers.num_markers, 3))
    rows = [LANDMARK_ROW[landmark] for landmark in markers.landmarks]
    return nearest, source.landmark_pos[rows] - source.vertices[markers.vertices]


def _vertex_normals(body: BodyModel) -> np.ndarray:
    corner = body.vertices[body.faces]
    face_normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal = np.stack(
        [
            np.bincount(body.faces.ravel(), np.repeat(face_normal[:, axis], 3), minlength=len(body.vertices))
            for axis in range(3)
        ],
        axis=1,
    )
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)

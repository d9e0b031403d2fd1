"""Markers of one trial on one body: which labels are landmarks, where they sit, the poses that follow them.

Axis legend: T frames, L labels of the file, M markers of them that are landmarks of the body, K chosen frames, N = 24 bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from dataset import rotation
from dataset.body.joint_priors import LIMIT_SPREAD, UNPLACED, joint_precision, joint_range, marker_spread
from dataset.body.landmarks import LANDMARKS
from dataset.body.marker_labels import canonical_label
from dataset.body.marker_sets import MarkerSet, landmark_set, marker_points
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.skeleton import BODY_INDEX, NUM_BODIES, PARENTS

HUBER: Final[float] = 4.0
"""Marker error in standard deviations from which it counts linearly: a swapped label does not bend the body."""

STEP_RATE: Final[float] = 30.0
"""Standard deviation of joint speed [rad/s] for the pull towards the frame before: decides only what no marker sees."""

_ARMS_DOWN: Final[float] = 1.3
"""Turn of the shoulders [rad] from the rest pose to hanging arms: the second of two starting poses."""


class TooFewLandmarksError(ValueError):
    """No frame shows enough landmarks to place the body; another way to the pelvis may do."""


def used_labels(labels: Sequence[str]) -> tuple[list[int], MarkerSet, tuple[str, ...]]:
    """Which labels of a file the body knows.

    Returns:
        Index of each known label, the marker set of their landmarks, and the labels left out.
    """
    index: list[int] = []
    landmarks: list[str] = []
    for position, label in enumerate(labels):
        landmark = canonical_label(label)
        if landmark in LANDMARKS and landmark not in landmarks and landmark[1:] not in UNPLACED:
            index.append(position)
            landmarks.append(landmark)
    ignored = tuple(label for position, label in enumerate(labels) if position not in index)
    return index, landmark_set("file", [labels[position] for position in index], landmarks), ignored


class MarkerProblem:
    """Markers of one trial and, once placed, their points on one body."""

    def __init__(self, labels: Sequence[str], markers: np.ndarray) -> None:
        markers = np.asarray(markers, dtype=np.float64)
        if markers.ndim != 3 or markers.shape[1:] != (len(labels), 3) or not len(markers):
            raise ValueError(f"markers: expected shape (T, {len(labels)}, 3) with T > 0, got {markers.shape}")
        self.index, self.set, self.ignored = used_labels(labels)
        self.targets = np.ascontiguousarray(markers[:, self.index])
        self.targets[~np.isfinite(self.targets).all(axis=2)] = np.nan
        self.landmarks = [canonical_label(label) or "" for label in self.set.labels]
        self.carrier = np.array([BODY_INDEX[LANDMARKS[landmark][1]] for landmark in self.landmarks], dtype=np.int64)
        self.spread = np.array([marker_spread(landmark) for landmark in self.landmarks])
        seen = np.isfinite(self.targets[:, :, 0])
        trunk = np.isin(self.carrier, [BODY_INDEX[name] for name in ("Pelvis", "Torso", "Spine", "Chest")])
        self.count = np.where((seen & trunk).sum(axis=1) >= 3, seen.sum(axis=1), 0)
        self.is_trunk = trunk
        if self.count.max() < 6:
            raise TooFewLandmarksError(
                "fit: expected a frame with at least 6 markers that are landmarks of the body, 3 of them on pelvis and trunk; "
                f"the labels give {', '.join(self.landmarks) or 'none'} (ignored: {', '.join(self.ignored[:12]) or 'none'})"
            )

    def place_on(self, body: BodyModel) -> None:
        """Points of the markers on a body."""
        points, _, _ = marker_points(body, self.set)
        self.offset = body.offset
        self.points = points - body.joint_pos[self.carrier]
        self.rest = points

    def solve(
        self, frames: np.ndarray, frame_rate: float, start: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pelvis positions (T, 3) and quaternions (T, N, 4) of the chosen frames, forwards and backwards from the fullest."""
        targets = np.ascontiguousarray(self.targets[frames])
        root, quat = np.zeros((len(frames), 3)), np.tile(rotation.IDENTITY, (len(frames), NUM_BODIES, 1))
        if start is not None:
            root[:], quat[:] = start
            for frame in range(len(frames)):
                self._run(targets, np.array([frame]), root, quat, 0.0, 20)
            return root, quat
        seed = int(self.count[frames].argmax())
        if self.count[frames][seed] < 6:
            raise TooFewLandmarksError(
                "fit: none of the chosen frames has 6 known markers, 3 of them on pelvis and trunk"
            )
        root[seed], quat[seed] = self._first_pose(targets[seed])
        step_precision = (frame_rate / STEP_RATE) ** 2
        self._run(targets, np.arange(seed, len(frames)), root, quat, step_precision, 20)
        self._run(targets, np.arange(seed, -1, -1), root, quat, step_precision, 20)
        return root, quat

    def errors(self, root: np.ndarray, quat: np.ndarray) -> np.ndarray:
        """Observed minus modelled marker positions [m] of all frames, shape (T, M, 3)."""
        return self.errors_on(np.arange(len(self.targets)), root, quat)

    def errors_on(self, frames: np.ndarray, root: np.ndarray, quat: np.ndarray) -> np.ndarray:
        """`errors` where root and quat are of the chosen frames, shape (K, M, 3)."""
        body_pos, body_quat = forward_kinematics(self.offset, root, quat)
        turned = rotation.rotate(body_quat[:, self.carrier], self.points)
        return self.targets[frames] - body_pos[:, self.carrier] - turned

    def pose_jacobian(self, body_pos: np.ndarray, body_rot: np.ndarray) -> np.ndarray:
        """Change of the markers of one frame with pelvis position and right turns of the bodies, shape (M, 3, 3 + 3 N)."""
        place = body_pos[self.carrier] + np.einsum("mij,mj->mi", body_rot[self.carrier], self.points)
        jacobian = np.zeros((self.set.num_markers, 3, 3 + 3 * NUM_BODIES))
        jacobian[:, :, :3] = np.eye(3)
        for marker, body in enumerate(self.carrier):
            while body >= 0:
                axes = np.cross(body_rot[body].T, place[marker] - body_pos[body]).T
                jacobian[marker, :, 3 + 3 * body : 6 + 3 * body] = axes
                body = PARENTS[body]
        return jacobian

    def _first_pose(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pose of one frame from nothing: the trunk by rigid alignment, then the better of arms out and arms down."""
        seen = np.isfinite(targets[:, 0])
        trunk = seen & self.is_trunk
        turn, shift = _rigid_alignment(self.rest[trunk], targets[trunk])
        best: tuple[float, np.ndarray, np.ndarray] | None = None
        for angle in (0.0, _ARMS_DOWN):
            root = (turn @ self.offset[0] + shift)[None]
            quat = np.tile(rotation.IDENTITY, (1, NUM_BODIES, 1))
            quat[0, 0] = rotation.from_matrix(turn)
            quat[0, BODY_INDEX["L_Shoulder"]] = rotation.from_axis_angle((1.0, 0.0, 0.0), -angle)
            quat[0, BODY_INDEX["R_Shoulder"]] = rotation.from_axis_angle((1.0, 0.0, 0.0), angle)
            cost = self._run(targets[None], np.array([0]), root, quat, 0.0, 100)[0]
            if best is None or cost < best[0]:
                best = (cost, root[0], quat[0])
        assert best is not None
        return best[1], best[2]

    def _run(
        self,
        targets: np.ndarray,
        order: np.ndarray,
        root: np.ndarray,
        quat: np.ndarray,
        step_precision: float,
        iterations: int,
    ) -> np.ndarray:
        """Solves the frames in order, in place of root and quat; returns their cost."""
        from dataset.body.inverse_kinematics import solve_frames

        cost = np.zeros(len(targets))
        solve_frames(
            targets, order, self.points, self.carrier, 1.0 / self.spread**2, self.offset, np.array(PARENTS), joint_precision(),
            joint_range(), LIMIT_SPREAD**-2, step_precision, HUBER, iterations, 1e-5, root, quat, cost,
        )  # fmt: skip
        return cost


def _rigid_alignment(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and shift (3,) that bring points (M, 3) nearest to others (Kabsch 1976)."""
    source_center, target_center = source.mean(axis=0), target.mean(axis=0)
    left, _, right = np.linalg.svd((target - target_center).T @ (source - source_center))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    turn = left @ flip @ right
    return turn, target_center - turn @ source_center

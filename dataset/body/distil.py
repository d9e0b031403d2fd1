"""Distil the licence-free default body from Anny into a small file (build time only).

Run once as `python -m dataset.body.distil --out dataset/body/default_body.npz`; needs the build-time extra `anny` (Apache-2.0
code, CC0 MakeHuman data; its first start takes about 100 s and writes 0.8 GB to ANNY_CACHE_DIR).

What is kept. Anny's rest mesh is multilinear in its phenotypes between anchor values, so the table of the rest meshes at the
anchors that we use (2 sexes x 3 ages x 5 builds x 3 heights = 90 nodes), interpolated multilinearly, IS the model on that
grid. The table is compressed by principal components (`node_basis`, `node_table`). Body proportions that age, sex, height and
build cannot express (limb lengths, girths, posture) come from 45 of Anny's local changes, each linearised as half the
difference of its two directions and given a prior standard deviation; their principal components, scaled to one standard
deviation each, are `shape_basis`: the coefficients of `Subject.shape`. Only the left half is stored: the mesh is
exactly mirror-symmetric.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from dataset.body.landmarks import LANDMARKS, hip_centre
from dataset.command_line import run_command
from dataset.skeleton import BODY_INDEX, MIRROR_BODY, NUM_BODIES

BONES_OF_BODY: Final[dict[str, tuple[str, ...]]] = {
    "Pelvis": ("root", "pelvis.L", "pelvis.R", "spine05"), "L_Hip": ("upperleg01.L", "upperleg02.L"),
    "L_Knee": ("lowerleg01.L", "lowerleg02.L"), "L_Ankle": ("foot.L",), "L_Toe": ("toe",),
    "Torso": ("spine04", "spine03"), "Spine": ("spine02",), "Chest": ("spine01",), "Neck": ("neck",),
    "Head": ("head", "eye"), "L_Thorax": ("clavicle.L", "shoulder01.L"), "L_Shoulder": ("upperarm01.L", "upperarm02.L"),
    "L_Elbow": ("lowerarm01.L", "lowerarm02.L"), "L_Wrist": ("wrist.L", "metacarpal", "finger1-"),
    "L_Hand": ("finger2-", "finger3-", "finger4-", "finger5-"),
}  # fmt: skip
"""Prefixes of the bones whose skinning weights a body collects. The whole thumb goes with the wrist: with the fingers it would
stray by up to 130 mm when they bend."""

RIG_POINTS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Pelvis", ("root",)), ("Torso", ("spine04",)), ("Spine", ("spine02",)), ("Chest", ("spine01",)), ("Neck", ("neck01",)),
    ("Head", ("head",)), ("L_Thorax", ("clavicle.L",)), ("L_Shoulder", ("upperarm01.L",)), ("L_Wrist", ("wrist.L",)),
    ("L_Toe", ("toe1-1.L", "toe2-1.L", "toe3-1.L", "toe4-1.L", "toe5-1.L")),
    ("L_Hand", ("finger2-1.L", "finger3-1.L", "finger4-1.L", "finger5-1.L")),
    ("index_knuckle", ("finger2-1.L",)), ("little_knuckle", ("finger5-1.L",)),
)  # fmt: skip
"""Points of the rig that the body keeps: name, bones whose heads are averaged. Hip, knee, ankle and elbow come from landmarks."""

SEX_NODES: Final[tuple[float, ...]] = (0.0, 1.0)
AGE_NODES: Final[tuple[float, ...]] = (0.0, 1 / 3, 2 / 3)
"""Anny's age: 0 baby, 1/3 child, 2/3 young adult."""
BUILD_NODES: Final[tuple[tuple[float, float], ...]] = ((0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (1.0, 0.5), (1.0, 0.0))
"""(weight, muscle) along the path on which body mass rises throughout; our build is -1 … 3 -> the five nodes in order, in
steps of one."""
HEIGHT_NODES: Final[tuple[float, ...]] = (0.0, 0.5, 1.0)

LIMB_LENGTHS: Final[tuple[tuple[str, tuple[float, float]], ...]] = (
    ("measure-upperarm-length-incr", (0.1620, 0.1586)), ("measure-lowerarm-length-incr", (0.1545, 0.1523)),
    ("measure-upperleg-height-incr", (0.2415, 0.2415)), ("measure-lowerleg-height-incr", (0.2465, 0.2465)),
)  # fmt: skip
"""Local changes that correct the limbs of every node, and the length of upper arm, forearm, thigh and shank between joint
centres as fractions of height, (male, female), that they are chosen to give the adult of average height. Arms: de Leva (1996).
Legs: between de Leva's men (.2425, .2493; his women have another hip), Drillis & Contini (.245, .246), and the nine adults
of `schreiber2019` (.238, .227). As it comes the neutral mesh has .149, .141, .233, .260."""

PRIOR_SD: Final[float] = 0.35
"""Prior standard deviation of a local change (Anny's scale: 1 is the extreme)."""
NEUTRAL_ADULT: Final[dict[str, float]] = {"gender": 0.5, "age": 2 / 3, "height": 0.4}

LOCAL_CHANGES: Final[tuple[str, ...]] = (
    "measure-upperarm-length-incr", "measure-lowerarm-length-incr", "measure-upperleg-height-incr",
    "measure-lowerleg-height-incr", "measure-shoulder-dist-incr", "measure-napetowaist-dist-incr",
    "measure-waisttohip-dist-incr", "measure-frontchest-dist-incr", "measure-hips-circ-incr", "measure-waist-circ-incr",
    "measure-bust-circ-incr", "measure-underbust-circ-incr", "measure-thigh-circ-incr", "measure-knee-circ-incr",
    "measure-calf-circ-incr", "measure-ankle-circ-incr", "measure-upperarm-circ-incr", "measure-wrist-circ-incr",
    "measure-neck-circ-incr", "measure-neck-height-incr", "hip-scale-horiz-incr", "hip-scale-depth-incr",
    "hip-scale-vert-incr", "hip-trans-forward", "hip-trans-up", "torso-scale-horiz-incr", "torso-scale-depth-incr",
    "torso-scale-vert-incr", "torso-trans-forward", "torso-vshape-incr", "head-scale-horiz-incr", "head-scale-depth-incr",
    "head-scale-vert-incr", "head-trans-forward", "neck-trans-forward", "buttocks-volume-incr", "stomach-tone-incr",
)  # fmt: skip
PAIRED_LOCAL_CHANGES: Final[tuple[str, ...]] = (
    "foot-scale-incr", "foot-scale-horiz-incr", "foot-scale-depth-incr", "foot-scale-vert-incr", "hand-scale-incr",
    "hand-fingers-length-incr", "lowerleg-muscle-incr", "upperarm-shoulder-muscle-incr",
)  # fmt: skip
"""Local changes that Anny has once a side (`l-…`, `r-…`): always moved together."""
PHENOTYPE_SD: Final[dict[str, float]] = {"muscle": 0.15, "proportions": 0.25}
"""Phenotypes outside the node table that enter the shape space, with their prior standard deviation."""


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """Where to write and how much to keep."""

    out: Path
    """Output `.npz`; a `.json` with provenance is written beside it."""
    node_rank: int = 26
    """Principal components kept of the table of nodes."""
    shape_rank: int = 24
    """Principal components kept of the local changes."""


def _rest_points(model: Any, phenotypes: dict[str, float], local: dict[str, float] | None = None) -> np.ndarray:
    """Vertices, then rig points, of one rest mesh: x forward, y left, z up, pelvis joint at the origin, (V + R, 3) [m]."""
    inputs = model.get_tensor_inputs(None, phenotypes, local, None)[1:]
    rest = model.get_rest_model(model._get_phenotype_blendshape_coefficients(*inputs))
    heads, bones = rest["rest_bone_heads"][0].numpy(), list(model.bone_labels)
    rig = np.stack([heads[[bones.index(bone) for bone in names]].mean(axis=0) for _, names in RIG_POINTS])
    points = np.concatenate([rest["rest_vertices"][0].numpy(), rig]) - heads[bones.index("root")]
    return np.stack([-points[:, 1], points[:, 0], points[:, 2]], axis=1)


def _node_phenotypes() -> list[dict[str, float]]:
    return [
        {"gender": sex, "age": age, "weight": weight, "muscle": muscle, "height": height}
        for sex in SEX_NODES
        for age in AGE_NODES
        for weight, muscle in BUILD_NODES
        for height in HEIGHT_NODES
    ]


def _body_weights(model: Any, mirror: np.ndarray) -> np.ndarray:
    """Skinning weights summed onto the 24 bodies, mirror-symmetric, four largest kept, rows renormalised, shape (V, N)."""
    body_of_bone = np.full(len(model.bone_labels), -1)
    for bone, label in enumerate(model.bone_labels):
        for body, prefixes in BONES_OF_BODY.items():
            if label.startswith(prefixes):
                index = BODY_INDEX[body]
                is_right = body.startswith("L_") and label.endswith(".R")
                body_of_bone[bone] = MIRROR_BODY[index] if is_right else index
            elif body.startswith("L_") and label.replace(".R", ".L").startswith(prefixes):
                body_of_bone[bone] = MIRROR_BODY[BODY_INDEX[body]]
    if (body_of_bone < 0).any():
        missing = [label for bone, label in enumerate(model.bone_labels) if body_of_bone[bone] < 0]
        raise ValueError(f"anny: bones without a body: {missing}; expected the default rig of anny 0.6")
    indices, values = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()
    weights = np.zeros((indices.shape[0], NUM_BODIES))
    for column in range(indices.shape[1]):
        np.add.at(weights, (np.arange(len(weights)), body_of_bone[indices[:, column]]), values[:, column])
    weights = 0.5 * (weights + weights[mirror][:, list(MIRROR_BODY)])
    fifth = np.sort(weights, axis=1)[:, -5][:, None]
    weights[weights <= fifth] = 0.0
    return weights / weights.sum(axis=1, keepdims=True)


def _mirror_vertices(points: np.ndarray) -> np.ndarray:
    from scipy.spatial import KDTree

    found = KDTree(points).query(points * np.array([1.0, -1.0, 1.0]))
    distance, index = np.asarray(found[0]), np.asarray(found[1])
    if distance.max() > 1e-9 or not (index[index] == np.arange(len(index))).all():
        raise ValueError(f"anny: the template is not mirror symmetric (largest distance {distance.max():.2e} m)")
    return index


def _quantised(basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int16 rows and their scales: basis ≈ rows · scale, to 1/65000 of the largest entry."""
    scale = np.abs(basis).max(axis=(1, 2)) / 32767.0
    return np.round(basis / scale[:, None, None]).astype(np.int16), scale.astype(np.float64)


def _components(samples: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients (n, rank) and basis (rank, P, 3) of the rows of samples (n, P, 3); largest error [m]."""
    flat = samples.reshape(len(samples), -1)
    left, values, right = np.linalg.svd(flat, full_matrices=False)
    coefficients = left[:, :rank] * values[:rank]
    error = np.linalg.norm((flat - coefficients @ right[:rank]).reshape(samples.shape), axis=2).max()
    return coefficients, right[:rank].reshape(rank, *samples.shape[1:]), float(error)


def _height(points: np.ndarray) -> float:
    """Standing height of a rest mesh [m]."""
    return float(np.ptp(points[: -len(RIG_POINTS), 2]))


def _human_limbs(model: Any, sex: int) -> np.ndarray:
    """Displacement of the adult that gives it the limbs of `LIMB_LENGTHS`, per metre of height, shape (V + R, 3)."""
    phenotypes = NEUTRAL_ADULT | {"gender": float(sex)}
    adult = _rest_points(model, phenotypes)
    rig = {name: row - len(RIG_POINTS) for row, (name, _) in enumerate(RIG_POINTS)}

    def fractions(points: np.ndarray) -> np.ndarray:
        at = {name: points[vertex] for name, (vertex, _) in LANDMARKS.items()}
        elbow, knee, ankle = (
            0.5 * (at[first] + at[second]) for first, second in (("LELB", "LELM"), ("LKNE", "LKNM"), ("LANK", "LMED"))
        )
        pairs = (
            (points[rig["L_Shoulder"]], elbow), (elbow, points[rig["L_Wrist"]]), (hip_centre(at["LASI"], at["LPSI"]), knee),
            (knee, ankle),
        )  # fmt: skip
        return np.array([np.linalg.norm(end - start) for start, end in pairs]) / _height(points)

    units = [_rest_points(model, phenotypes, {label: 1.0}) - adult for label, _ in LIMB_LENGTHS]
    wanted = np.array([fraction[sex] for _, fraction in LIMB_LENGTHS])
    amounts = np.zeros(len(units))
    for _ in range(12):
        points = adult + np.tensordot(amounts, units, axes=1)
        slopes = np.stack([(fractions(points + 1e-3 * unit) - fractions(points)) / 1e-3 for unit in units], axis=1)
        amounts += np.linalg.solve(slopes, wanted - fractions(points))
    corrected = adult + np.tensordot(amounts, units, axes=1)
    if np.abs(fractions(corrected) - wanted).max() > 1e-5:
        raise ValueError(f"anny: limb lengths: expected {wanted}, reached {fractions(corrected)}")
    return np.tensordot(amounts, units, axes=1) / _height(adult)


def _shape_directions(model: Any) -> np.ndarray:
    """One prior standard deviation of every local change and extra phenotype on the neutral adult, (n, V + R, 3) [m]."""
    adult = NEUTRAL_ADULT
    directions = []
    names = [(label,) for label in LOCAL_CHANGES] + [(f"l-{label}", f"r-{label}") for label in PAIRED_LOCAL_CHANGES]
    for labels in names:
        plus = _rest_points(model, adult, dict.fromkeys(labels, 1.0))
        minus = _rest_points(model, adult, dict.fromkeys(labels, -1.0))
        directions.append(0.5 * PRIOR_SD * (plus - minus))
    for label, spread in PHENOTYPE_SD.items():
        plus, minus = (
            _rest_points(model, adult | {label: value}) for value in (1.0, 0.5 if label == "muscle" else 0.0)
        )
        directions.append((plus - minus) * spread / (0.5 if label == "muscle" else 1.0))
    return np.stack(directions)


def main(cfg: DistilConfig) -> dict[str, Any]:
    """Build `cfg.out` and its provenance; returns the provenance."""
    from importlib.metadata import version

    import anny  # pyright: ignore[reportMissingImports]  # build-time extra

    local = [*LOCAL_CHANGES, *(f"{side}-{label}" for label in PAIRED_LOCAL_CHANGES for side in "lr")]
    print("building Anny (minutes at the first start) …", file=sys.stderr)
    model = anny.Anny(skinning_method="lbs", local_changes=local)

    neutral = _rest_points(model, NEUTRAL_ADULT)
    num_vertices = len(neutral) - len(RIG_POINTS)
    mirror = _mirror_vertices(neutral[:num_vertices])
    left = np.flatnonzero((neutral[:num_vertices, 1] > 1e-9) | (mirror == np.arange(num_vertices)))
    kept = np.concatenate([left, np.arange(num_vertices, len(neutral))])

    corrections = [_human_limbs(model, sex) for sex in (0, 1)]
    nodes = np.stack([_rest_points(model, phenotypes) for phenotypes in _node_phenotypes()])
    for node, phenotypes in zip(nodes, _node_phenotypes()):
        node += _height(node) * corrections[int(phenotypes["gender"])]
    nodes = nodes[:, kept]
    mean = nodes.mean(axis=0)
    node_table, node_basis, node_error = _components(nodes - mean, cfg.node_rank)
    directions = _shape_directions(model)[:, kept]
    shape_table, shape_basis, shape_error = _components(directions, cfg.shape_rank)
    # Independent unit-normal local changes give these components the standard deviations |column of the table|.
    shape_basis = shape_basis * np.linalg.norm(shape_table, axis=0)[:, None, None]

    weights = _body_weights(model, mirror)[left]
    order = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    grid = (len(SEX_NODES), len(AGE_NODES), len(BUILD_NODES), len(HEIGHT_NODES), cfg.node_rank)
    node_rows, node_scale = _quantised(node_basis)
    shape_rows, shape_scale = _quantised(shape_basis)
    arrays = {
        "mean": mean.astype(np.float32),
        "node_table": node_table.reshape(grid).astype(np.float32),
        "node_basis": node_rows, "node_scale": node_scale,
        "shape_basis": shape_rows, "shape_scale": shape_scale,
        "left_vertex": left.astype(np.int16), "right_vertex": mirror[left].astype(np.int16),
        "faces": model.faces.numpy().astype(np.int16),
        "weight_body": order.astype(np.uint8),
        "weight": np.take_along_axis(weights, order, axis=1).astype(np.float32),
    }  # fmt: skip
    with open(cfg.out, "wb") as stream:
        np.savez_compressed(stream, **arrays)
    provenance = {
        "what": "Default human body: half mesh, shape space, skinning weights on 24 bodies",
        "licence": "CC0-1.0: derived from the MakeHuman / MPFB2 assets (CC0 1.0 Universal) as packaged in anny (code Apache-2.0)",
        "made_by": "python -m dataset.body.distil",
        "versions": {name: version(name) for name in ("anny", "numpy", "torch")},
        "vertices": num_vertices,
        "node_rank": cfg.node_rank,
        "node_error_mm": round(1e3 * node_error, 3),
        "shape_rank": cfg.shape_rank,
        "shape_error_mm_per_sd": round(1e3 * shape_error, 3),
        "sha256": hashlib.sha256(cfg.out.read_bytes()).hexdigest(),
    }
    cfg.out.with_suffix(".json").write_text(json.dumps(provenance, indent=2) + "\n")
    print(json.dumps(provenance, indent=2))
    return provenance


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(DistilConfig, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("distil", run))

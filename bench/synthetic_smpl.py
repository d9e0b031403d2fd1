"""A body model in SMPL's format with made-up numbers: SMPL itself is licensed, and its speed does not depend on them.

Sizes are SMPL's (6890 vertices, 24 joints, 10 shape directions, 207 pose directions, about 35 vertices a joint in the
regressor, four weights a vertex); the surface is a cloud of points around the joints.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dataset.skeleton import PARENTS

NUM_VERTICES = 6890


def synthetic_smpl(num_vertices: int = NUM_VERTICES, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a model file."""
    rng = np.random.default_rng(seed)
    bodies = len(PARENTS)
    joints = np.zeros((bodies, 3))
    for body in range(1, bodies):
        joints[body] = joints[PARENTS[body]] + rng.normal(0.0, 0.12, 3)
    carrier = rng.integers(0, bodies, num_vertices)
    carrier[:bodies] = np.arange(bodies)  # every joint has a vertex to be regressed from
    template = joints[carrier] + rng.normal(0.0, 0.05, (num_vertices, 3))
    weights = np.zeros((num_vertices, bodies))
    near = np.stack([carrier, *(rng.integers(0, bodies, num_vertices) for _ in range(3))], axis=1)
    np.add.at(weights, (np.arange(num_vertices)[:, None], near), rng.dirichlet([4.0, 1.0, 0.5, 0.2], num_vertices))
    regressor = np.zeros((bodies, num_vertices))
    for body in range(bodies):
        chosen = np.flatnonzero(carrier == body)[:35]
        regressor[body, chosen] = 1.0 / len(chosen)
    table = np.stack([np.array(PARENTS, np.int64), np.arange(bodies)])
    table[0, 0] = 2**32 - 1  # as in SMPL's files
    return {
        "v_template": template,
        "shapedirs": rng.normal(0.0, 0.01, (num_vertices, 3, 10)),
        "posedirs": rng.normal(0.0, 0.002, (num_vertices, 3, 9 * (bodies - 1))),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": table,
        "f": rng.integers(0, num_vertices, (2 * num_vertices, 3)).astype(np.uint32),
    }


def smplx_model(arrays: dict[str, np.ndarray]) -> Any:
    """`smplx.SMPL` of the arrays (its own file reader knows pickles only)."""
    import smplx
    from smplx.utils import Struct
    from smplx.vertex_ids import vertex_ids

    chosen = {name: index % len(arrays["v_template"]) for name, index in vertex_ids["smplh"].items()}
    return smplx.SMPL(model_path="", data_struct=Struct(**arrays), vertex_ids=chosen)


def marker_arguments(arrays: dict[str, np.ndarray], vertices: np.ndarray, betas: np.ndarray) -> dict[str, Any]:
    """Arguments of `kernels.markers.place_markers` that do not change with the pose, for some vertices of a shape (10,)."""
    from kernels.markers import PoseBlend

    shaped = arrays["v_template"] + arrays["shapedirs"] @ betas
    bodies = np.argsort(-arrays["weights"][vertices], axis=1, kind="stable")[:, :4].astype(np.int32)
    directions = np.moveaxis(arrays["posedirs"][vertices], -1, 0)
    return {
        "points": shaped[vertices],
        "joint_pos": arrays["J_regressor"] @ shaped,
        "bodies": bodies,
        "weights": np.take_along_axis(arrays["weights"][vertices], bodies, axis=1),
        "blend": PoseBlend(directions=directions.astype(np.float32), parents=np.maximum(PARENTS, 0)),
    }

"""Marker positions: the compiled kernel and torch against `smplx`'s full mesh and gather.

`smplx` starts from joint rotations and poses the bodies itself; the kernel starts from posed bodies. So the compiled
contender is timed both ways: as it is used, and with the kinematic tree in front of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np

from bench.harness import Case, Contender
from bench.synthetic_smpl import marker_arguments, smplx_model, synthetic_smpl
from dataset.skeleton import PARENTS
from kernels._threads import over_rows
from kernels.markers import PoseBlend, cases, place_markers

_SMPLX_BATCHES = (16, 64, 256)
"""Frames a call of `smplx`, each a rival: its best one counts."""

_LEAST_FRAMES = 256
"""Frames whose bodies are worth a thread to pose."""


def contests(device: str) -> Iterator[tuple[Case, list[Contender]]]:
    """Cases of the markers kernel and who runs them."""
    for case in cases.BENCH_CASES:
        if case.name != "smpl":
            yield _plain(case, device)
    yield _smpl(next(case for case in cases.BENCH_CASES if case.name == "smpl"), device)


def _work(case: cases.Case) -> Case:
    floats = np.dtype(case.dtype).itemsize
    # rotations and positions in, markers out; 9 products, 9 sums, 3 weighted sums a weight; blend 2 a number and coordinate
    flops = 21 * case.markers * case.weights + (2 * 207 * 3 * case.markers + 23 * 45 if case.has_blend else 0)
    return Case(
        kernel="markers", name=case.name, items=case.frames, unit="frames", flops=flops * case.frames,
        bytes=case.frames * floats * (24 * 12 + 3 * case.markers),
    )  # fmt: skip


def _plain(case: cases.Case, device: str) -> tuple[Case, list[Contender]]:
    arguments = cases.make(case)
    expected = place_markers(**arguments)
    _agree(expected[:64], place_markers(**_first(arguments, 64), backend="reference"))
    contenders = []
    if device == "cpu":
        out = np.empty_like(expected)
        contenders.append(_numba(arguments, out, expected))
    contenders.append(_torch(arguments, expected, device))
    return _work(case), contenders


def _smpl(case: cases.Case, device: str) -> tuple[Case, list[Contender]]:
    import torch

    arrays, rng = synthetic_smpl(), np.random.default_rng(0)
    vertices = rng.choice(len(arrays["v_template"]), case.markers, replace=False)
    fixed = marker_arguments(arrays, vertices, np.zeros(10))
    local = cases.make(case)["body_rot"]
    body_pos, body_rot = pose_bodies(fixed["joint_pos"], local)
    arguments = fixed | {"body_pos": body_pos, "body_rot": body_rot}
    model = smplx_model(arrays).to(device)
    rotations, gathered = torch.from_numpy(local).to(device), torch.from_numpy(vertices).to(device)

    def full_mesh(batch: int) -> torch.Tensor:
        found = []
        with torch.no_grad():
            for start in range(0, case.frames, batch):
                rot = rotations[start : start + batch]
                betas = rot.new_zeros(len(rot), 10)
                body = model(betas=betas, body_pose=rot[:, 1:], global_orient=rot[:, :1], pose2rot=False)
                found.append(body.vertices[:, gathered])
        return torch.cat(found)

    expected = full_mesh(64).cpu().numpy()
    contenders = []
    if device == "cpu":
        out = np.empty_like(expected)
        contenders.append(_numba(arguments, out, expected))

        def with_tree() -> np.ndarray:
            pos, rot = pose_bodies(fixed["joint_pos"], local)
            return place_markers(**fixed, body_pos=pos, body_rot=rot, out=out)

        contenders.append(
            Contender(impl="numba with kinematic tree", run=with_tree, check=lambda: _agree(with_tree(), expected))
        )
    contenders.append(_torch(arguments, expected, device))
    contenders += [
        Contender(
            impl=f"smplx full mesh, {batch} a call", run=lambda batch=batch: full_mesh(batch), is_rival=True,
            check=lambda: _agree(full_mesh(64).cpu().numpy(), expected), is_capturable=False,
        )
        for batch in _SMPLX_BATCHES
    ]  # fmt: skip
    return _work(case), contenders


def _numba(arguments: dict[str, Any], out: np.ndarray, expected: np.ndarray) -> Contender:
    def run() -> np.ndarray:
        return place_markers(**arguments, out=out, backend="numba")

    return Contender(impl="numba", run=run, check=lambda: _agree(run(), expected))


def _torch(arguments: dict[str, Any], expected: np.ndarray, device: str) -> Contender:
    import torch

    def tensor(value: Any) -> Any:
        if isinstance(value, PoseBlend):
            return PoseBlend(directions=tensor(value.directions), parents=tensor(value.parents))
        if value is None:
            return None
        made = torch.from_numpy(np.ascontiguousarray(value)).to(device)
        return made.float() if made.is_floating_point() else made.long()

    tensors = {key: tensor(value) for key, value in arguments.items()}

    def run() -> torch.Tensor:
        with torch.no_grad():
            return place_markers(**tensors)

    # a user who knows that only the markers are wanted writes this
    return Contender(
        impl="torch, markers only", run=run, check=lambda: _agree(run().cpu().numpy(), expected), is_rival=True
    )


def _first(arguments: dict[str, Any], frames: int) -> dict[str, Any]:
    return arguments | {key: arguments[key][:frames] for key in ("body_pos", "body_rot", "subject")}


def _agree(found: np.ndarray, expected: np.ndarray) -> None:
    worst = float(np.abs(found - expected).max(initial=0.0))
    scale = max(
        1.0, float(np.abs(expected).max(initial=0.0)) / 4.0
    )  # one unit in the last place within 4 m is 2.4e-7 m
    assert worst <= 1.5e-6 * scale, f"markers differ by {worst} m"


def pose_bodies(joint_pos: np.ndarray, local_rot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joint centres (T, 24, 3) and rotations (T, 24, 3, 3) in the world of rotations against the parents; root stays put."""
    body_pos = np.empty(local_rot.shape[:-1], local_rot.dtype)
    body_rot = np.empty_like(local_rot)
    over_rows(
        _pose,
        len(local_rot),
        _LEAST_FRAMES,
        joint_pos.astype(np.float64),
        np.array(PARENTS),
        local_rot,
        body_pos,
        body_rot,
    )
    return body_pos, body_rot


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _pose(
    first: int, last: int, joint_pos: np.ndarray, parents: np.ndarray, local_rot: np.ndarray, body_pos: np.ndarray,
    body_rot: np.ndarray,
) -> None:  # fmt: skip
    for t in range(first, last):
        body_rot[t, 0] = local_rot[t, 0]
        body_pos[t, 0] = joint_pos[0]
        for b in range(1, len(parents)):
            above = parents[b]
            for i in range(3):
                total = np.float64(body_pos[t, above, i])
                for k in range(3):
                    total += body_rot[t, above, i, k] * (joint_pos[b, k] - joint_pos[above, k])
                body_pos[t, b, i] = total
                for j in range(3):
                    entry = 0.0
                    for k in range(3):
                        entry += np.float64(body_rot[t, above, i, k]) * local_rot[t, b, k, j]
                    body_rot[t, b, i, j] = entry

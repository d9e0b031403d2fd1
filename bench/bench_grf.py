"""Ground reactions of contacts: the compiled kernel and sorted segment sums against what NumPy and torch offer.

Rivals give force and centre of pressure only, as most users want; the kernel always gives free moment and flag too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.harness import Case, Contender
from kernels.grf import MIN_FORCE, GroundReaction, aggregate_contacts, cases

_CHECKED_FRAMES = 4096


def contests(device: str) -> Iterator[tuple[Case, list[Contender]]]:
    """Cases of the grf kernel and who runs them."""
    for case in cases.BENCH_CASES:
        yield _contest(case, device)


def _contest(case: cases.Case, device: str) -> tuple[Case, list[Contender]]:
    arguments: dict[str, Any] = cases.make(case)
    part = arguments | {"offsets": arguments["offsets"][: _CHECKED_FRAMES + 1]}
    stop = int(part["offsets"][-1])
    part |= {key: part[key][:stop] for key in ("position", "force", "torque", "body") if part[key] is not None}
    expected = aggregate_contacts(**part, backend="reference")
    floats = np.dtype(case.dtype).itemsize
    columns = 9 if case.has_torque else 6
    work = Case(
        kernel="grf", name=case.name, items=case.frames, unit="frames",
        bytes=case.frames * (case.contacts * (columns * floats + 4) + 8 + case.bodies * (6 * floats + 1)),
        flops=case.frames * (case.contacts * (9 + columns) + case.bodies * 10),
    )  # fmt: skip

    def contender(impl: str, run: Callable[[], Any], *, is_rival: bool = False) -> Contender:
        return Contender(impl=impl, run=run, check=lambda: _agree(run(), expected), is_rival=is_rival)

    contenders = []
    if device == "cpu":
        out = aggregate_contacts(**arguments)
        contenders.append(contender("numba", lambda: aggregate_contacts(**arguments, out=out, backend="numba")))
    tensors = _tensors(arguments, device)
    contenders.append(contender("torch, sorted segments", lambda: aggregate_contacts(**tensors)))
    if device == "cpu":
        contenders.append(contender("numpy bincount", lambda: numpy_bincount(**arguments), is_rival=True))
        contenders.append(contender("numpy add.at", lambda: numpy_add_at(**arguments), is_rival=True))
    contenders.append(contender("torch index_add", lambda: torch_index_add(**tensors), is_rival=True))
    return work, contenders


def _tensors(arguments: dict[str, Any], device: str) -> dict[str, Any]:
    import torch

    return {
        key: torch.from_numpy(value).to(device) if isinstance(value, np.ndarray) else value
        for key, value in arguments.items()
    }


def _keyed_parts(
    position: np.ndarray, force: np.ndarray, torque: np.ndarray | None, body: np.ndarray, offsets: np.ndarray,
    num_bodies: int,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:  # fmt: skip
    """Frame and body of each contact as one number, and its force [N] and horizontal moment about the origin [N·m]."""
    key = np.repeat(np.arange(len(offsets) - 1) * num_bodies, np.diff(offsets)) + body
    x, y, z = position.T
    fx, fy, fz = force.T
    mx, my = y * fz - z * fy, z * fx - x * fz
    if torque is not None:
        mx, my = mx + torque[:, 0], my + torque[:, 1]
    return key, (fx, fy, fz, mx, my)


def numpy_bincount(
    position: np.ndarray, force: np.ndarray, torque: np.ndarray | None, body: np.ndarray, offsets: np.ndarray,
    num_bodies: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Force and centre of pressure by weighted histograms over frame and body: one of the two best NumPy ways."""
    frames = len(offsets) - 1
    key, parts = _keyed_parts(position, force, torque, body, offsets, num_bodies)
    sums = [np.bincount(key, weights=part, minlength=frames * num_bodies) for part in parts]
    return _numpy_read(np.stack(sums, axis=-1).reshape(frames, num_bodies, 5))


def numpy_add_at(
    position: np.ndarray, force: np.ndarray, torque: np.ndarray | None, body: np.ndarray, offsets: np.ndarray,
    num_bodies: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Force and centre of pressure by unbuffered addition in place: the other one."""
    frames = len(offsets) - 1
    key, parts = _keyed_parts(position, force, torque, body, offsets, num_bodies)
    sums = np.zeros((5, frames * num_bodies))
    for total, part in zip(sums, parts):
        np.add.at(total, key, part)
    return _numpy_read(sums.T.reshape(frames, num_bodies, 5))


def _numpy_read(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    vertical = np.where(sums[..., 2] >= MIN_FORCE, sums[..., 2], np.nan)
    cop = np.stack([-sums[..., 4] / vertical, sums[..., 3] / vertical], axis=-1)
    return sums[..., :3].astype(np.float32), cop.astype(np.float32)


def torch_index_add(position: Any, force: Any, torque: Any, body: Any, offsets: Any, num_bodies: int) -> Any:
    """Force and centre of pressure by index_add: on a GPU the sums change from run to run."""
    import torch

    frames = len(offsets) - 1
    frame = torch.searchsorted(offsets, torch.arange(len(body), device=body.device), right=True) - 1
    moment = torch.linalg.cross(position, force)
    if torque is not None:
        moment = moment + torque
    sums = torch.zeros(frames * num_bodies, 6, dtype=torch.float64, device=force.device)
    sums.index_add_(0, frame * num_bodies + body, torch.cat([force, moment], dim=1).double())
    sums = sums.view(frames, num_bodies, 6)
    vertical = torch.where(sums[..., 2] >= MIN_FORCE, sums[..., 2], torch.nan)
    cop = torch.stack([-sums[..., 4] / vertical, sums[..., 3] / vertical], dim=-1)
    return sums[..., :3].float(), cop.float()


def _agree(found: Any, expected: GroundReaction) -> None:
    for name, have, want in zip(expected._fields, found, expected):
        have = np.asarray(have.cpu() if hasattr(have, "cpu") else have)[:_CHECKED_FRAMES]
        assert have.shape == want.shape, f"{name}: expected shape {want.shape}, got {have.shape}"
        if want.dtype == bool:
            assert np.array_equal(have, want), f"{name} differs"
            continue
        assert np.array_equal(np.isnan(have), np.isnan(want)), f"{name}: NaN elsewhere"
        # rivals multiply in float32: 400 N at 2 m, and centres of pressure divide by as little as 1 N
        worst = np.nanmax(np.abs(have - want) / (1.0 + np.abs(want)), initial=0.0)
        assert worst < 5e-4, f"{name} differs by {worst}"

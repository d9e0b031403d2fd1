"""Canonical windows of random frames: the one-pass kernel against fancy indexing in NumPy and eager torch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import Case, Contender
from kernels.windows import Disturbance, cases, make_tokens

_ROTATIONS = 8
"""Batches of other windows that a GPU goes through: together larger than its second-level cache."""


def contests(device: str) -> Iterator[tuple[Case, list[Contender]]]:
    """Cases of the windows kernel and who runs them."""
    for case in cases.BENCH_CASES:
        yield _contest(case, device)


def _contest(case: cases.Case, device: str) -> tuple[Case, list[Contender]]:
    arguments = cases.make(case)
    few = _part(arguments, 64)
    expected = make_tokens(**few, backend="reference")
    frames, floats = 2 * case.half_width + 2, np.dtype(case.dtype).itemsize
    noise = 3 * (frames + 1) * floats if case.has_noise else 0
    work = Case(
        kernel="windows", name=case.name, items=case.windows, unit="windows",
        bytes=case.windows * (case.tokens * (9 * frames * floats + 5 + noise) + 45),
        flops=case.windows * case.tokens * frames * (15 + (12 if case.has_noise else 0)),
    )  # fmt: skip

    def check(found: Any) -> None:
        tokens, mask = (np.asarray(part.cpu() if hasattr(part, "cpu") else part)[:64] for part in found)
        assert np.array_equal(mask, expected[1]), "masks differ"
        worst = np.abs(tokens - expected[0]).max(initial=0.0)
        assert worst < 3e-4, f"tokens differ by {worst}"  # velocities amplify the rounding of metres thirtyfold

    contenders = []
    if device == "cpu":
        out = make_tokens(**arguments)
        contenders.append(_contender("numba", lambda: make_tokens(**arguments, out=out, backend="numba"), check))
        mapped: dict[str, Any] = arguments | {"marker_pos": _memory_map(arguments["marker_pos"])}
        contenders.append(
            _contender("numba, memory map", lambda: make_tokens(**mapped, out=out, backend="numba"), check)
        )
        contenders.append(
            _contender("numpy", lambda: make_tokens(**arguments, backend="reference"), check, is_rival=True)
        )
    contenders.append(_torch(arguments, check, device))
    return work, contenders


def _contender(impl: str, run: Any, check: Any, *, is_rival: bool = False, rotate: tuple = ()) -> Contender:
    return Contender(impl=impl, run=run, check=lambda: check(run()), is_rival=is_rival, rotate=rotate)


def _torch(arguments: dict[str, Any], check: Any, device: str) -> Contender:
    """What a user writes in eager torch; on a GPU it is also our backend."""
    import torch

    def tensor(value: Any) -> Any:
        if isinstance(value, Disturbance):
            return Disturbance(**{name: tensor(field) for name, field in vars(value).items()})
        return torch.from_numpy(value).to(device) if isinstance(value, np.ndarray) else value

    tensors = {key: tensor(value) for key, value in arguments.items()}
    rotate = ()
    if device == "cuda":
        others = [tensors | {"frame": tensors["frame"].roll(shift)} for shift in range(1, _ROTATIONS)]
        rotate = tuple(lambda other=other: make_tokens(**other) for other in others)
    return _contender("torch eager", lambda: make_tokens(**tensors), check, is_rival=True, rotate=rotate)


def _part(arguments: dict[str, Any], windows: int) -> dict[str, Any]:
    noise = arguments["disturbance"]
    if noise is not None:
        noise = Disturbance(
            table=noise.table, start=noise.start[:windows], offset_size=noise.offset_size[:windows],
            jitter_size=noise.jitter_size[:windows],
        )  # fmt: skip
    names = ("frame", "index", "origin", "heading", "is_mirrored")
    return arguments | {key: arguments[key][:windows] for key in names} | {"disturbance": noise}


def _memory_map(markers: np.ndarray) -> np.ndarray:
    """The same markers read from a file that is deleted at once: its pages stay while the map is open."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "markers.npy"
        np.save(path, markers)
        return np.load(path, mmap_mode="r", allow_pickle=False)

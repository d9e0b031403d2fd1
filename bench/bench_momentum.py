"""Impulses of stored substep torques: the compiled kernel against NumPy's sum and einsum and torch's sum.

The rivals add in float32; the kernel adds in twice that precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.harness import Case, Contender
from kernels.momentum import cases, integrate_torque

_STEP = 1.0 / 450.0


def contests(device: str) -> Iterator[tuple[Case, list[Contender]]]:
    """Cases of the momentum kernel and who runs them."""
    for case in cases.BENCH_CASES:
        yield _contest(case, device)


def _contest(case: cases.Case, device: str) -> tuple[Case, list[Contender]]:
    import torch

    torque = cases.make(case)
    expected = integrate_torque(torque[:1024], _STEP, backend="reference")
    row = 3 * case.joints * torque.itemsize
    work = Case(
        kernel="momentum", name=case.name, items=case.transitions, unit="transitions", bandwidth="read",
        bytes=case.transitions * row * (case.substeps + 1), flops=case.transitions * 3 * case.joints * case.substeps,
    )  # fmt: skip

    def contender(impl: str, run: Callable[[], Any], *, is_rival: bool = False) -> Contender:
        def check() -> None:
            found = run()
            found = np.asarray(found.cpu() if isinstance(found, torch.Tensor) else found)[: len(expected)]
            worst = np.abs(found - expected).max(initial=0.0)
            assert worst < 1e-5, f"impulses differ by {worst} N·m·s"

        return Contender(impl=impl, run=run, check=check, is_rival=is_rival)

    contenders = []
    if device == "cpu":
        out = integrate_torque(torque, _STEP)
        step = np.full(case.substeps, _STEP, np.float32)
        contenders.append(contender("numba", lambda: integrate_torque(torque, _STEP, out=out, backend="numba")))
        contenders.append(contender("numpy sum", lambda: torque.sum(axis=1) * np.float32(_STEP), is_rival=True))
        contenders.append(
            contender("numpy einsum", lambda: np.einsum("tsjc,s->tjc", torque, step), is_rival=True)
        )  # fmt: skip
    tensor = torch.from_numpy(torque).to(device)
    if device == "cuda":
        contenders.append(contender("torch, compensated", lambda: integrate_torque(tensor, _STEP)))
    contenders.append(contender("torch sum", lambda: tensor.sum(dim=1) * _STEP, is_rival=True))
    return work, contenders

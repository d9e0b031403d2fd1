"""Run by `test_windows_triton.py` under TRITON_INTERPRET=1, which must be set before Triton is imported.

Compares the fused window kernel with the reference on all small cases and prints, as JSON, case -> largest difference of a
token over the largest token, and whether the masks are equal.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from kernels import windows
from kernels.windows import triton_gpu
from kernels.windows.cases import CASES, Case, make


def _as_tensors(value):
    if isinstance(value, windows.Disturbance):
        return windows.Disturbance(**{name: torch.from_numpy(item) for name, item in vars(value).items()})
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def run(case: Case) -> tuple[float, bool]:
    """Difference and equality of one case."""
    arguments = make(case)
    tokens, mask = windows.make_tokens(**arguments, backend="reference")
    names = ("marker_pos", "frame", "index", "origin", "heading", "is_mirrored", "disturbance", "order", "half_width")
    fused, fused_mask = triton_gpu.make_tokens(*(_as_tensors(arguments[name]) for name in names), 30.0)
    worst = float(np.abs(fused.numpy() - tokens).max(initial=0.0))
    return worst / float(np.abs(tokens).max(initial=1.0)), bool((fused_mask.numpy() == mask).all())


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({case.name: run(case) for case in CASES}))

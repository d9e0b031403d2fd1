"""Run by `test_encoder_interpreted.py` under TRITON_INTERPRET=1, which must be set before Triton is imported.

`python interpreted_encoder.py DESIGN`: compares the fused kernels with the float64 reference on all small cases and prints,
as JSON, case -> dtype -> largest output error, and largest gradient error of a tensor relative to the tensor's norm, or to a
hundredth of the norm of all gradients where that is more.
"""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from kernels.encoder import attention, cases, reference, triton_gpu
from kernels.encoder.attention import cases as attention_cases
from kernels.encoder.attention import reference as attention_reference
from kernels.encoder.attention import triton_gpu as attention_gpu
from kernels.encoder.cases import parameters, with_parameters

ROUNDED = ("tiny", "frames", "odd_sizes", "one_head", "stream")
"""Cases that are interpreted in bfloat16 too, in which shapes and masks take the same way: the others are the slow ones."""


def run(design: str, name: str, dtype: torch.dtype) -> tuple[float, float]:
    """Errors of one case and dtype; both sides see the same rounded numbers."""
    if design == "pooled":
        table, exact, fused = cases, lambda x, m, w: reference.encode([(x, m)], w), None
        fused = lambda x, m, w: triton_gpu.encode([(x, m)], w)  # noqa: E731
    else:
        table, exact, fused = attention_cases, attention_reference.encode, attention_gpu.encode
    case = next(case for case in table.CASES if case.name == name)
    weights, (x, mask) = table.make_weights(case, dtype=dtype), table.make_tokens(case, dtype=dtype)
    direction = torch.randn(case.batch, case.width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    outputs, gradients = [], []
    for function, kind in ((exact, torch.float64), (fused, dtype)):
        leaves = [value.clone().to(kind).requires_grad_() for value in [x, *parameters(weights)]]
        if function is fused:
            # Absent tokens are not read: not even NaN may come through.
            leaves[0] = torch.where(mask[..., None], leaves[0].detach(), torch.nan).requires_grad_()
        output = function(leaves[0], mask, with_parameters(weights, leaves[1:]))
        outputs.append(output.detach().double())
        gradients.append(torch.autograd.grad((output * direction.to(kind)).sum(), leaves))
    error = float((outputs[0] - outputs[1]).abs().max())
    # Some gradients are zero in exact arithmetic (scores of a single token): all of them set the least scale.
    least = 0.01 * torch.cat([value.flatten() for value in gradients[0]]).norm()
    pairs = zip(*gradients, strict=True)
    relative = [float((left - right.double()).norm() / torch.maximum(left.norm(), least)) for left, right in pairs]
    # max() would pass over a NaN.
    return error, float(torch.tensor(relative).max())


if __name__ == "__main__":
    assert triton_gpu.is_interpreted() and attention.__name__
    torch.set_num_threads(1)
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    table = attention_cases if sys.argv[1] == "attention" else cases
    found = {
        case.name: {
            label: run(sys.argv[1], case.name, kind)
            for label, kind in kinds.items()
            if label == "float32" or case.name in ROUNDED
        }
        for case in table.TEST_CASES
    }
    print(json.dumps(found))

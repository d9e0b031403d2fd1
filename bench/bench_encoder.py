"""Both encoders at the paper's batch of 2400 windows: forward, and a training step with clipping and AdamW.

CPU, float32: the folded pooling encoder, compiled and in plain torch, beside the unfolded eager one and beside
`nn.TransformerDecoder` with the same weights, which is what the released ImDy code calls. CUDA, bfloat16: the fused kernels
beside eager torch, torch.compile and eager torch replayed as a CUDA graph; inference with parameters folded or packed once, a
training step with all of it. The loss is the mean square of the features against a fixed target. A training step on CUDA
begins with making its windows from recorded frames on the device (`kernels.windows`), for everyone alike; on the CPU it begins
with tokens.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.harness import Case, Contender
from kernels import encoder
from kernels.encoder import attention
from kernels.encoder import cases as pooled_cases
from kernels.encoder.attention import cases as attention_cases

_NUM_FRAMES, _NUM_MARKERS = 120_000, 53
"""Recorded frames that a GPU's training step takes its windows from, 76 MB."""

Forward = Callable[[Tensor, Tensor, Any], Tensor]
"""Features from tokens, mask and weights."""

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""Largest difference of a feature (of order one) from the float32 reference, see `tests/kernels/test_encoder_triton.py`."""
_GRADIENT_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""Norm of the difference of all gradients over the norm of all gradients."""


@dataclass(frozen=True, kw_only=True)
class _Design:
    """One design at one shape on one device."""

    name: str
    table: Any
    case: Any
    reference: Forward
    flops: int
    """Of a forward of the batch, in the cheapest form known: folded where that exists."""
    dtype: torch.dtype
    device: str

    def weights(self, dtype: torch.dtype | None = None) -> Any:
        return self.table.make_weights(self.case, dtype=dtype or self.dtype, device=self.device)

    def inputs(self, seed: int = 0) -> tuple[Tensor, Tensor]:
        return self.table.make_tokens(self.case, seed=seed, dtype=self.dtype, device=self.device)


def contests(device: str) -> Iterator[tuple[Case, list[Contender]]]:
    """Cases of the encoders and who runs them."""
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    case = next(case for case in pooled_cases.CASES if case.name == "paper")
    pooled = _Design(
        name="pooled", table=pooled_cases, case=case, flops=_folded_flops(case), dtype=dtype, device=device,
        reference=lambda x, m, w: encoder.encode(x, m, w, backend="reference"),
    )  # fmt: skip
    if device == "cpu":
        own: dict[str, Forward] = {
            name: functools.partial(encoder.encode, backend=name) for name in ("numba", "folded")
        }
        forwards = {**own, "eager": pooled.reference, "nn.TransformerDecoder": decode_with_pytorch}
        yield _forward_contest(pooled, forwards, rivals=("eager", "nn.TransformerDecoder"))
        yield _training_contest(pooled, forwards, rivals=("eager", "nn.TransformerDecoder"))
        return
    designs = [pooled]
    for name in ("paper_frames", "paper_markers"):
        shape = next(case for case in attention_cases.CASES if case.name == name)
        designs.append(_Design(
            name=name.replace("paper", "attention"), table=attention_cases, case=shape, flops=shape.flops, dtype=dtype,
            device=device, reference=lambda x, m, w: attention.encode(x, m, w, backend="reference"),
        ))  # fmt: skip
    for design in designs:
        rivals = {
            "eager": design.reference,
            "torch.compile": torch.compile(design.reference),
            "eager, graphed": design.reference,
        }
        fused: Forward = encoder.encode if design is pooled else attention.encode
        yield _forward_contest(design, {"triton": _prepared(design), **rivals}, rivals=tuple(rivals))
        yield _training_contest(design, {"triton": fused, **rivals}, rivals=tuple(rivals))


def decode_with_pytorch(tokens: Tensor, mask: Tensor, weights: encoder.PooledWeights) -> Tensor:
    """Features by PyTorch's own decoder with these weights: every parameter of its module is replaced for the call.

    Query and key maps of its self-attention, which cannot matter over one query, and the key bias are zero.
    """
    width, ff = weights.embed_weight.shape[0], weights.layers[0].ff_in_weight.shape[0]
    decoder = _decoder(width, weights.num_heads, ff, len(weights.layers), weights.embed_weight.dtype)
    given = {"norm.weight": weights.norm_weight, "norm.bias": weights.norm_bias}
    square, vector = weights.embed_weight.new_zeros(2 * width, width), weights.embed_weight.new_zeros(2 * width)
    for index, layer in enumerate(weights.layers):
        own = {
            "self_attn.in_proj_weight": torch.cat([square, layer.self_value_weight]),
            "self_attn.in_proj_bias": torch.cat([vector, layer.self_value_bias]),
            "self_attn.out_proj.weight": layer.self_out_weight, "self_attn.out_proj.bias": layer.self_out_bias,
            "multihead_attn.in_proj_weight": torch.cat([layer.query_weight, layer.key_weight, layer.value_weight]),
            "multihead_attn.in_proj_bias": torch.cat([layer.query_bias, vector[:width], layer.value_bias]),
            "multihead_attn.out_proj.weight": layer.out_weight, "multihead_attn.out_proj.bias": layer.out_bias,
            "linear1.weight": layer.ff_in_weight, "linear1.bias": layer.ff_in_bias,
            "linear2.weight": layer.ff_out_weight, "linear2.bias": layer.ff_out_bias,
        }  # fmt: skip
        own |= {f"norm{which + 1}.weight": layer.norm_weight[which] for which in range(3)}
        own |= {f"norm{which + 1}.bias": layer.norm_bias[which] for which in range(3)}
        given |= {f"layers.{index}.{name}": value for name, value in own.items()}
    memory = torch.nn.functional.linear(tokens, weights.embed_weight, weights.embed_bias)
    query = weights.query.expand(len(tokens), 1, -1)
    found = torch.func.functional_call(decoder, given, (query, memory), {"memory_key_padding_mask": ~mask})
    return found[:, 0]


@functools.cache
def _decoder(width: int, heads: int, ff: int, layers: int, dtype: torch.dtype) -> torch.nn.TransformerDecoder:
    layer = torch.nn.TransformerDecoderLayer(width, heads, ff, dropout=0.0, batch_first=True, dtype=dtype)
    return torch.nn.TransformerDecoder(layer, layers, torch.nn.LayerNorm(width, dtype=dtype))


def _folded_flops(case: pooled_cases.Case) -> int:
    d, maps = case.width, case.heads * case.features
    return case.batch * case.layers * (2 * d * d + 4 * d * maps + 4 * maps * case.markers + 4 * d * case.ff)


def _prepared(design: _Design) -> Forward:
    """The fused forward with parameters folded or packed once, as in inference."""
    if design.name == "pooled":
        from kernels.encoder import triton_gpu

        folded = triton_gpu.fold(design.weights())
        return lambda x, m, w: triton_gpu.encode_folded([(x, m)], folded)
    from kernels.encoder.attention import triton_gpu as attention_gpu

    packed = attention_gpu.pack(design.weights())
    return lambda x, m, w: attention_gpu.encode_packed(x, m, packed)


def _work(design: _Design, part: str, weights: Any) -> Case:
    tokens, mask = design.inputs()
    size = tokens.element_size()
    numbers = sum(value.numel() for value in _tensors(weights))
    read = tokens.nbytes + mask.nbytes
    out = design.case.batch * design.case.width * size
    if part == "forward":
        moved, flops = read + out + numbers * size, design.flops
    else:
        # The tokens once more for the backward; a parameter, its gradient and two moments, read and written by AdamW.
        moved, flops = 2 * read + 2 * out + numbers * (3 * size + 16 + 4), 3 * design.flops
        if design.device != "cpu":
            # Six frames of every window, float32, and the tokens that are made of them.
            moved += design.case.batch * _NUM_MARKERS * 6 * 3 * 4 + read
    return Case(
        kernel="encoder",
        name=f"{design.name}_{part}",
        items=design.case.batch,
        unit="windows",
        bytes=moved,
        flops=flops,
    )


def _buffers(design: _Design) -> list[tuple[Tensor, Tensor]]:
    """Inputs to rotate through: on a GPU together twice as large as its second-level cache."""
    first = design.inputs()
    if design.device == "cpu":
        return [first]
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    return [first, *(design.inputs(seed) for seed in range(1, 1 + -(-2 * cache // first[0].nbytes)))]


def _is_capturable(impl: str) -> bool:
    # What a user gets without asking for graphs: launched call by call.
    return impl not in ("eager", "torch.compile")


def _forward_contest(
    design: _Design, forwards: dict[str, Forward], rivals: tuple[str, ...]
) -> tuple[Case, list[Contender]]:
    weights, buffers = design.weights(), _buffers(design)
    tokens, mask = buffers[0]

    @functools.cache
    def exact() -> Tensor:
        with torch.no_grad():
            return _reference_in_float(design, tokens, mask)

    def contender(impl: str, forward: Forward) -> Contender:
        def run(x: Tensor = tokens, m: Tensor = mask) -> Tensor:
            with torch.no_grad():
                return forward(x, m, weights)

        def check() -> None:
            worst = float((run().float() - exact()).abs().max())
            assert worst <= _TOLERANCE[design.dtype], f"features differ by {worst}"

        others = tuple(lambda x=x, m=m: run(x, m) for x, m in buffers[1:])
        return Contender(impl=impl, run=run, check=check, is_rival=impl in rivals, rotate=others,
                         is_capturable=_is_capturable(impl))  # fmt: skip

    return _work(design, "forward", weights), [contender(impl, forward) for impl, forward in forwards.items()]


def _reference_in_float(design: _Design, tokens: Tensor, mask: Tensor) -> Tensor:
    """Reference features in float32 of the same rounded tokens and weights."""
    weights = _replaced(design.weights(), lambda value: value.float())
    return design.reference(tokens.float(), mask, weights)


Source = Callable[[], tuple[Tensor, Tensor]]
"""Tokens and mask of a training step."""


def _sources(design: _Design, *, is_fused: bool) -> list[Source]:
    """Where training steps take their tokens from: made before on a CPU, windows of recorded frames on a GPU.

    The frames are larger than the second-level cache and every source takes windows of its own. The fused kernel makes them
    for the fused encoder, eager torch for its rivals; neither goes through the boundary's checks, which wait for the device.
    """
    if design.device == "cpu":
        first = design.inputs()
        return [lambda: first]
    module = importlib.import_module(f"kernels.windows.{'triton_gpu' if is_fused else 'torch_any'}")
    generator = torch.Generator().manual_seed(5)
    markers, batch = _NUM_MARKERS, design.case.batch
    frames = torch.randn(_NUM_FRAMES, markers, 3, generator=generator).to(design.device)
    index = torch.arange(markers, dtype=torch.int32).expand(batch, -1).contiguous().to(design.device)
    is_mirrored = torch.zeros(batch, dtype=torch.bool, device=design.device)

    def source() -> Source:
        frame = torch.randint(2, _NUM_FRAMES - 3, (batch,), generator=generator).to(design.device)
        origin = torch.randn(batch, 3, generator=generator).to(design.device)
        heading = torch.randn(batch, generator=generator).to(design.device)

        def make() -> tuple[Tensor, Tensor]:
            tokens, mask = module.make_tokens(frames, frame, index, origin, heading, is_mirrored, None, None, 2, 30.0)
            if design.name == "attention_frames":  # the frames of all markers are the tokens, as many as the case has
                tokens = tokens.view(batch, markers, -1, 6).transpose(1, 2).flatten(2)[:, : design.case.tokens]
                mask = mask[:, : design.case.tokens]
            return tokens.to(design.dtype).contiguous(), mask.contiguous()

        return make

    return [source() for _ in range(4)]


def _training_contest(
    design: _Design, forwards: dict[str, Forward], rivals: tuple[str, ...]
) -> tuple[Case, list[Contender]]:
    target = torch.randn(design.case.batch, design.case.width, generator=torch.Generator().manual_seed(7))
    target = target.to(design.device, design.dtype)

    def gradient(forward: Forward, dtype: torch.dtype, *, is_fused: bool) -> Tensor:
        weights = _replaced(design.weights(), lambda value: value.to(dtype).requires_grad_())
        tokens, mask = _sources(design, is_fused=is_fused)[0]()
        loss = (forward(tokens.to(dtype), mask, weights) - target.to(dtype)).square().mean()
        return torch.cat([part.float().flatten() for part in torch.autograd.grad(loss, _tensors(weights))])

    exact = functools.cache(lambda: gradient(design.reference, torch.float32, is_fused=False))

    def contender(impl: str, forward: Forward) -> Contender:
        weights = _replaced(design.weights(), lambda value: value.clone().requires_grad_())
        leaves = _tensors(weights)
        is_cuda, sources = design.device == "cuda", _sources(design, is_fused=impl not in rivals)
        optimizer = torch.optim.AdamW(leaves, lr=1e-3, weight_decay=1e-7, fused=True, capturable=is_cuda)

        def run(source: Source = sources[0]) -> None:
            optimizer.zero_grad(set_to_none=True)
            (forward(*source(), weights) - target).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(leaves, 5.0, foreach=True)
            optimizer.step()

        def check() -> None:
            found = gradient(forward, design.dtype, is_fused=impl not in rivals)
            worst = float((found - exact()).norm() / exact().norm())
            assert worst <= _GRADIENT_TOLERANCE[design.dtype], f"gradients differ by {worst} of their norm"

        others = tuple(functools.partial(run, source) for source in sources[1:])
        return Contender(impl=impl, run=run, check=check, is_rival=impl in rivals, rotate=others,
                         is_capturable=_is_capturable(impl))  # fmt: skip

    work = _work(design, "training", design.weights())
    return work, [contender(impl, forward) for impl, forward in forwards.items()]


def _replaced(weights: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same record with every tensor changed."""

    def changed(record: Any) -> dict[str, Tensor]:
        values = {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}
        return {name: change(value) for name, value in values.items() if isinstance(value, Tensor)}

    layers = tuple(dataclasses.replace(layer, **changed(layer)) for layer in weights.layers)
    return dataclasses.replace(weights, layers=layers, **changed(weights))


def _tensors(weights: Any) -> list[Tensor]:
    records = [weights, *weights.layers]
    values = [getattr(record, item.name) for record in records for item in dataclasses.fields(record)]
    return [value for value in values if isinstance(value, Tensor)]

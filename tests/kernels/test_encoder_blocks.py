"""The folded encoder cut into blocks: the cuts and the threads are invisible in features and gradients."""

import dataclasses

import pytest
import torch

from kernels.encoder import block_threads, encode_groups, folded, folded_stack
from kernels.encoder.cases import CASES, make_tokens, make_weights, parameters, with_parameters

PRIME = next(case for case in CASES if case.name == "prime")


@pytest.fixture
def threads():
    """Sets torch's number of threads and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def _everything(groups, dtype) -> list[torch.Tensor]:
    """Features, then the gradients of tokens and parameters."""
    leaves = [value.clone().requires_grad_() for value in parameters(make_weights(PRIME, dtype=dtype))]
    tokens = [group[0].clone().requires_grad_() for group in groups]
    pairs = [(x, group[1]) for x, group in zip(tokens, groups)]
    features = encode_groups(pairs, with_parameters(make_weights(PRIME, dtype=dtype), leaves), backend="folded")
    return [features.detach(), *torch.autograd.grad(features.square().sum(), [*tokens, *leaves])]


def _groups(dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
    tokens, mask = make_tokens(PRIME, dtype=dtype)
    return [(tokens, mask), (tokens[:5, :20].contiguous(), torch.ones(5, 20, dtype=torch.bool))]


def test_blocks_of_one_window_give_what_whole_groups_give(monkeypatch) -> None:
    """Masked and full groups, features and every gradient."""
    whole = _everything(_groups(torch.float64), torch.float64)
    monkeypatch.setattr(folded_stack, "BLOCK_BYTES", 1)
    cut = _everything(_groups(torch.float64), torch.float64)
    for expected, actual in zip(whole, cut, strict=True):
        assert (expected - actual).abs().max() < 1e-11 * max(1.0, float(expected.abs().max()))


def test_no_bit_of_the_stack_depends_on_the_number_of_threads(monkeypatch, threads) -> None:
    """Features and the gradients of tokens and maps; torch folds the parameters before, by threads of its own."""
    monkeypatch.setattr(folded_stack, "BLOCK_BYTES", 2 * 31 * 36 * 4)
    once = folded.fold(make_weights(PRIME))
    results = []
    for count in (1, 2, 3):
        threads(count)
        start, read, *maps = (x.clone().requires_grad_() for x in (once.start, once.read, *once.maps.tensors()))
        names = [item.name for item in dataclasses.fields(once.maps)]
        groups = [(tokens.clone().requires_grad_(), mask) for tokens, mask in _groups(torch.float32)]
        stack = folded_stack.StackMaps(**dict(zip(names, maps)))
        features = folded_stack.encode_stack(groups, start, read, stack, once.num_heads)
        leaves = [start, read, *maps, *(tokens for tokens, _ in groups)]
        results.append([features, *torch.autograd.grad(features.square().sum(), leaves)])
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


def test_the_threads_of_the_blocks_leave_torchs_own_number_alone(threads) -> None:
    threads(2)
    inside = block_threads.over_blocks(lambda block: (torch.get_num_threads(), torch.is_grad_enabled()), range(8))
    assert inside == [(1, False)] * 8
    assert torch.get_num_threads() == 2 and torch.is_grad_enabled()


def test_an_error_in_a_block_comes_out(threads) -> None:
    threads(2)
    with pytest.raises(ZeroDivisionError):
        block_threads.over_blocks(lambda block: 1 // (block - 2), range(4))

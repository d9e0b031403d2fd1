"""The encoder's contenders pass their own gate at a small batch, and the gate sees what is wrong."""

from dataclasses import replace

import pytest

from bench import bench_encoder

pytestmark = pytest.mark.thorough


@pytest.fixture
def contests(monkeypatch):
    """The CPU contests with seven windows each."""
    cases = tuple(replace(case, batch=7) for case in bench_encoder.pooled_cases.CASES)
    monkeypatch.setattr(bench_encoder.pooled_cases, "CASES", cases)
    return {case.name: (case, contenders) for case, contenders in bench_encoder.contests("cpu")}


def test_every_contender_is_right_and_there_are_two_of_ours_and_two_rivals(contests) -> None:
    assert set(contests) == {"pooled_forward", "pooled_training"}
    for case, contenders in contests.values():
        assert case.items == 7 and case.bytes and case.flops
        assert [item.impl for item in contenders] == ["numba", "folded", "eager", "nn.TransformerDecoder"]
        assert [item.is_rival for item in contenders] == [False, False, True, True]
        for contender in contenders:
            contender.check()
            contender.run()


@pytest.mark.parametrize("name", ["pooled_forward", "pooled_training"])
def test_a_wrong_result_is_seen(monkeypatch, name) -> None:
    """One bias of PyTorch's decoder left out."""
    right = bench_encoder.decode_with_pytorch

    def off(tokens, mask, weights):
        layer = weights.layers[1]
        wrong = replace(layer, value_bias=layer.value_bias * 0.0)
        return right(tokens, mask, replace(weights, layers=(weights.layers[0], wrong, *weights.layers[2:])))

    monkeypatch.setattr(bench_encoder, "decode_with_pytorch", off)
    cases = tuple(replace(case, batch=7) for case in bench_encoder.pooled_cases.CASES)
    monkeypatch.setattr(bench_encoder.pooled_cases, "CASES", cases)
    contenders = {case.name: items for case, items in bench_encoder.contests("cpu")}[name]
    with pytest.raises(AssertionError, match="differ by"):
        contenders[-1].check()

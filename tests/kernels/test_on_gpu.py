"""The tensor backends on a CUDA device: the reference's numbers, the same bits in every run, capturable in a graph."""

import numpy as np
import pytest

from kernels import grf, markers, momentum, windows
from kernels.grf import cases as grf_cases
from kernels.markers import cases as markers_cases
from kernels.momentum import cases as momentum_cases
from kernels.windows import cases as windows_cases

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.gpu


def _on_gpu(value):
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value).cuda()
    if isinstance(value, dict):
        return {key: _on_gpu(item) for key, item in value.items()}
    if isinstance(value, (windows.Disturbance, markers.PoseBlend)):
        return type(value)(**_on_gpu(vars(value)))
    return value


def _same(found, expected, tolerance: float) -> None:
    for have, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(have.cpu().numpy(), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", grf_cases.CASES, ids=lambda case: case.name)
def test_ground_reactions_agree_and_repeat_bit_for_bit(case) -> None:
    arguments = grf_cases.make(case)
    tensors = _on_gpu(arguments)
    found, again = (grf.aggregate_contacts(**tensors) for _ in range(2))
    _same(found, grf.aggregate_contacts(**arguments, backend="reference"), 1e-5)
    for first, second in zip(found, again, strict=True):
        np.testing.assert_array_equal(first.cpu().numpy(), second.cpu().numpy())


@pytest.mark.parametrize("case", momentum_cases.CASES, ids=lambda case: case.name)
def test_impulses_are_those_of_the_reference_bit_for_bit(case) -> None:
    torque = momentum_cases.make(case)
    expected = momentum.integrate_torque(torque, 0.01, backend="reference")
    np.testing.assert_array_equal(momentum.integrate_torque(_on_gpu(torque), 0.01).cpu().numpy(), expected)


@pytest.mark.parametrize("case", markers_cases.CASES, ids=lambda case: case.name)
def test_markers_agree(case) -> None:
    arguments = markers_cases.make(case)
    tensors = _on_gpu(arguments)
    tensors |= {key: tensors[key].to(tensors["body_pos"].dtype) for key in ("points", "joint_pos", "weights")}
    _same([markers.place_markers(**tensors)], [markers.place_markers(**arguments, backend="reference")], 2e-6)


@pytest.mark.parametrize("case", windows_cases.CASES, ids=lambda case: case.name)
def test_windows_agree(case) -> None:
    arguments = windows_cases.make(case)
    _same(windows.make_tokens(**_on_gpu(arguments)), windows.make_tokens(**arguments, backend="reference"), 3e-4)


def test_windows_and_ground_reactions_can_be_captured_in_a_graph() -> None:
    """Nothing waits for the device, so a replay gives what a call gives."""
    window = _on_gpu(windows_cases.make(windows_cases.CASES[2]))
    contacts = _on_gpu(grf_cases.make(grf_cases.CASES[2]))

    def run():
        return (*windows.make_tokens(**window), *grf.aggregate_contacts(**contacts))

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        expected = run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    graph.replay()
    for have, want in zip(captured, expected, strict=True):
        np.testing.assert_array_equal(have.cpu().numpy(), want.cpu().numpy())

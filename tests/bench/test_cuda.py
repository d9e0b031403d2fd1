"""GPU timing counts every call of a graph that goes through several buffers."""

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("is_capturable", [True, False])
def test_a_call_takes_as_long_alone_as_among_its_rotations(is_capturable: bool) -> None:
    from bench.cuda import graph_timer

    arrays = [torch.ones(2**26, device="cuda") for _ in range(4)]
    works = [lambda array=array: array.mul_(1.0) for array in arrays]
    alone = graph_timer(works[0], is_capturable=is_capturable)
    together = graph_timer(works[0], works[1:], is_capturable=is_capturable)
    assert 0.5 < min(together(16) for _ in range(5)) / min(alone(16) for _ in range(5)) < 2.0


def test_the_limits_of_the_device_have_the_right_units() -> None:
    from bench.cuda import measure_cuda

    machine = measure_cuda(repeats=3)
    assert machine.device.startswith("cuda ")
    assert 1e10 < machine.copy_bandwidth < 1e14
    assert 1e10 < machine.read_bandwidth < 1e14
    assert 1e11 < machine.matrix_peak < 1e17

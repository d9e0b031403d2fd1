"""Imposed angular momentum: hand-worked sums, compensation, linearity, streaming, boundaries."""

from fractions import Fraction

import numpy as np
import pytest

from kernels import _threads, momentum
from kernels.momentum import cases, numba_cpu

BACKENDS = ("reference", "numba")


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_torques_at_sixty_hertz_give_the_papers_impulse(backend: str) -> None:
    """30 and 60 N·m for 1/60 s each are 1.5 N·m·s."""
    torque = np.zeros((1, 2, 23, 3))
    torque[0, :, 4, 1] = 30.0, 60.0
    impulse = momentum.integrate_torque(torque, 1 / 60, backend=backend)
    assert impulse[0, 4, 1] == pytest.approx(1.5, rel=1e-15)
    assert np.count_nonzero(impulse) == 1


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_compiled_sums_equal_the_reference_bit_for_bit(case: cases.Case) -> None:
    """The same additions in the same order, so nothing may differ."""
    torque = cases.make(case)
    expected = momentum.integrate_torque(torque, 1 / 240, backend="reference")
    got = momentum.integrate_torque(torque, 1 / 240, backend="numba")
    assert got.dtype == torque.dtype and got.shape == (case.transitions, case.joints, 3)
    np.testing.assert_array_equal(got, expected)
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(momentum.integrate_torque(torch.from_numpy(torque), 1 / 240).numpy(), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_torques_sum_to_the_last_bit_or_two_of_the_exact_sum(backend: str) -> None:
    """Twice the precision of the torques: rounded once at the end."""
    torque = cases.make(cases.Case(name="many", transitions=3, substeps=301, joints=4, note=""))
    exact = torque.astype(np.longdouble).sum(axis=1).astype(np.float64) / 450
    got = momentum.integrate_torque(torque, 1 / 450, backend=backend)
    assert np.abs(got - exact).max() <= np.abs(exact).max() * 2.0**-23
    np.testing.assert_allclose(got, exact, rtol=2.0**-23)


def test_the_impulse_of_tensors_has_the_step_as_gradient() -> None:
    """The carried error is no part of the derivative."""
    torch = pytest.importorskip("torch")
    torque = torch.from_numpy(cases.make(cases.CASES[3])).requires_grad_()
    momentum.integrate_torque(torque, 0.01).sum().backward()
    assert torch.equal(torque.grad, torch.full_like(torque, 0.01))
    small = torque.detach()[:2, :3, :1].requires_grad_()
    assert torch.autograd.gradcheck(lambda value: momentum.integrate_torque(value, 0.01), small)


def test_threads_and_given_outputs_change_no_bit_and_strided_views_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are independent; an output full of NaN is written everywhere."""
    torque = cases.make(cases.Case(name="long", transitions=50, substeps=2, note=""))
    expected = momentum.integrate_torque(torque, 0.01)
    out = np.full_like(expected, np.nan)
    monkeypatch.setattr(numba_cpu, "_LEAST_NUMBERS", 1)
    _threads.set_num_threads(3)
    try:
        assert momentum.integrate_torque(torque, 0.01, out=out) is out
        view = np.repeat(torque, 2, axis=0)[::2]
        np.testing.assert_array_equal(momentum.integrate_torque(view, 0.01), expected)
    finally:
        _threads.set_num_threads(None)
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match=r"out: expected shape \(50, 23, 3\) of float32, got \(50, 23, 3\) of float64"):
        momentum.integrate_torque(torque, 0.01, out=out.astype(np.float64))


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelling_torques_of_very_different_size_sum_exactly(backend: str) -> None:
    """A plain float64 sum of this series is wrong by 100 %; the compensated one is exact to rounding."""
    rng = np.random.default_rng(3)
    small = rng.normal(0, 1, 7)
    series = np.concatenate([[1e17], small, [-1e17]])
    exact = float(sum(Fraction(value) for value in series.tolist()))
    impulse = momentum.integrate_torque(series[None, :, None, None].repeat(3, 3), 1.0, backend=backend)
    np.testing.assert_allclose(impulse[0, 0], exact, rtol=1e-14)
    assert abs(float(np.sum(series)) - exact) > 0.5 * abs(exact)


@pytest.mark.parametrize("backend", BACKENDS)
def test_impulse_is_linear_in_torque(backend: str) -> None:
    """Doubling torque or step doubles the impulse; impulses of a sum add."""
    first, second = cases.make(cases.CASES[3], seed=1), cases.make(cases.CASES[3], seed=2)

    def run(torque: np.ndarray, step: float = 0.01) -> np.ndarray:
        return momentum.integrate_torque(torque, step, backend=backend)

    np.testing.assert_array_equal(run(2 * first), 2 * run(first))
    np.testing.assert_array_equal(run(first, 0.02), 2 * run(first))
    np.testing.assert_allclose(run(first + second), run(first) + run(second), rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_streaming_over_environments_equals_the_stored_sum(backend: str) -> None:
    """Substep by substep, from strided views of float32 torques, the same impulse comes out."""
    torque_EST = cases.make(cases.Case(name="stream", transitions=6, substeps=9, joints=23, note="")).astype(np.float32)
    total, error = momentum.start_impulse(6)
    for substep in range(9):
        momentum.add_substep(total, error, torque_EST[:, substep], 1 / 512, backend=backend)
    stored = momentum.integrate_torque(torque_EST.astype(np.float64), 1 / 512, backend=backend)
    np.testing.assert_allclose(total + error, stored, rtol=1e-15, atol=1e-18)


@pytest.mark.filterwarnings("ignore:invalid value")  # NumPy's own, where the JIT is off
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("number", [3, 4, 5], ids=["float64", "float32 of 8 joints", "float32 of 23 joints"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_torque_that_is_not_finite_gives_nan_there_and_only_there(backend: str, number: int, value: float) -> None:
    """Infinity must not pass as a huge impulse; `validate` refuses it."""
    torque = cases.make(cases.CASES[number])
    torque[2, 1, 1, 0] = value
    bad = np.isnan(momentum.integrate_torque(torque, 0.01, backend=backend))
    assert bad.sum() == 1 and bad[2, 1, 0]
    with pytest.raises(ValueError, match=r"torque: expected finite values, got 1 others, first at \(2, 1, 1, 0\)"):
        momentum.integrate_torque(torque, 0.01, backend=backend, validate=True)


def test_wrong_arguments_are_named() -> None:
    """Shape, dtype, step and running sums."""
    torque = cases.make(cases.CASES[3])
    with pytest.raises(ValueError, match=r"torque: expected shape \(T, S, J, 3\), got \(13, 7, 5\)"):
        momentum.integrate_torque(torque[..., 0], 0.01)
    with pytest.raises(ValueError, match="torque: expected dtype float32 or float64, got int64"):
        momentum.integrate_torque(torque.astype(int), 0.01)
    with pytest.raises(ValueError, match="out: expected a C-contiguous array"):
        momentum.integrate_torque(torque, 0.01, out=np.zeros((13, 5, 6))[..., ::2])
    with pytest.raises(ValueError, match="step: expected a positive finite number, got nan"):
        momentum.integrate_torque(torque, float("nan"))
    total, error = momentum.start_impulse(2, 5)
    with pytest.raises(
        ValueError, match=r"torque: expected shape \(E, J, 3\) with E = 2 as in total, got \(13, 5, 3\)"
    ):
        momentum.add_substep(total, error, torque[:, 0], 0.01)
    with pytest.raises(ValueError, match="error: expected dtype float64"):
        momentum.add_substep(total, error.astype(np.float32), torque[:2, 0], 0.01)
    wide = np.zeros((2, 5, 6))
    with pytest.raises(ValueError, match="total: expected a C-contiguous array"):
        momentum.add_substep(wide[..., ::2], error, torque[:2, 0], 0.01)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_running_sums_that_may_not_be_written_are_named(backend: str) -> None:
    total, error = momentum.start_impulse(1)
    error.flags.writeable = False
    with pytest.raises(ValueError, match="error: expected an array that may be written"):
        momentum.add_substep(total, error, np.ones((1, 23, 3)), 0.01, backend=backend)
    assert not total.any()

"""Ground reactions: reference against hand-worked numbers and invariants, compiled against reference, boundaries."""

import itertools

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from kernels import grf
from kernels.grf import cases

BACKENDS = ("reference", "numba")
# float64 sums in the same order everywhere, so only the last cast differs: one unit in the last place of each dtype,
# relative to the largest force (400 N) times the largest lever (2 m).
TOLERANCE = {"float32": 1e-7, "float64": 1e-15}


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_contacts_on_a_plate_give_the_hand_worked_centre_and_free_moment(backend: str) -> None:
    """100 N at x = 0 and 300 N at x = 0.2 m balance at 0.15 m; opposite frictions twist about the vertical."""
    result = grf.aggregate_contacts(
        position=np.array([[0.0, 0.1, 0.0], [0.2, 0.1, 0.0]]),
        force=np.array([[0.0, 10.0, 100.0], [0.0, -10.0, 300.0]]),
        torque=np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.5]]),
        body=np.array([7, 7]),
        offsets=np.array([0, 2]),
        backend=backend,
    )
    np.testing.assert_allclose(result.force[0, 7], [0.0, 0.0, 400.0])
    np.testing.assert_allclose(result.cop[0, 7], [0.15, 0.1])
    # torques 1.5 plus -10 N at lever 0.2 m
    np.testing.assert_allclose(result.free_moment[0, 7], 1.5 - 2.0)
    assert result.contact[0].nonzero()[0].tolist() == [7]
    assert np.isnan(np.delete(result.cop[0], 7, axis=0)).all()


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_compiled_sums_equal_the_reference_on_every_case(case: cases.Case) -> None:
    """Both backends agree to the rounding of the output dtype, NaN for NaN."""
    arguments = cases.make(case)
    expected = grf.aggregate_contacts(**arguments, backend="reference")
    got = grf.aggregate_contacts(**arguments, backend="numba")
    for name, want in expected._asdict().items():
        have = getattr(got, name)
        assert have.dtype == want.dtype and have.shape == want.shape
        if want.dtype == bool:
            assert np.array_equal(have, want)
        else:
            scale = max(1.0, float(np.nanmax(np.abs(want), initial=0.0)))
            np.testing.assert_allclose(have / scale, want / scale, rtol=0, atol=TOLERANCE[case.dtype], err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_sum_of_all_forces_is_conserved(backend: str) -> None:
    """Sorting contacts into bodies neither loses nor doubles a force."""
    arguments = cases.make(cases.CASES[2])
    result = grf.aggregate_contacts(**arguments, backend=backend)
    starts = arguments["offsets"]
    for frame, (begin, end) in enumerate(itertools.pairwise(starts)):
        np.testing.assert_allclose(result.force[frame].sum(0), arguments["force"][begin:end].sum(0), atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_centre_of_pressure_of_pressing_contacts_lies_in_their_convex_hull(backend: str) -> None:
    """With forces up and contacts on the plane, no combination leaves the support polygon."""
    rng = np.random.default_rng(5)
    position = np.c_[rng.uniform(-0.1, 0.3, (60, 2)), np.zeros(60)]
    force = np.c_[rng.normal(0, 50, (60, 2)), rng.uniform(5, 200, 60)]
    result = grf.aggregate_contacts(
        position, force, None, np.zeros(60, int), np.arange(0, 61, 6), num_bodies=1, backend=backend
    )
    for frame in range(10):
        hull = ConvexHull(position[6 * frame : 6 * frame + 6, :2])
        assert np.all(hull.equations[:, :2] @ result.cop[frame, 0] + hull.equations[:, 2] <= 1e-12)


def test_the_order_of_contacts_does_not_matter_beyond_rounding() -> None:
    """A permutation inside each frame gives the same wrench."""
    arguments = cases.make(cases.CASES[4])
    offsets = arguments["offsets"]
    order = np.concatenate([np.arange(a, b)[::-1] for a, b in itertools.pairwise(offsets)])
    turned = arguments | {key: arguments[key][order] for key in ("position", "force", "torque", "body")}
    for first, second in zip(grf.aggregate_contacts(**arguments), grf.aggregate_contacts(**turned), strict=True):
        np.testing.assert_allclose(first, second, rtol=3e-6, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "force"), [("friction", (50.0, 0, 0)), ("pulling", (0, 0, -80.0)), ("grazing", (0, 0, 0.99))]
)
def test_a_body_that_is_not_pressed_keeps_its_force_and_has_no_centre(backend: str, name: str, force: tuple) -> None:
    """Friction alone, pulling and less than 1 N: force kept, CoP NaN, free moment 0, flag false."""
    result = grf.aggregate_contacts(
        np.array([[0.3, 0.0, 0.0]]), np.array([force]), np.array([[0, 0, 2.0]]), np.array([0]), np.array([0, 1]),
        num_bodies=1, backend=backend,
    )  # fmt: skip
    np.testing.assert_array_equal(result.force[0, 0], force)
    assert np.isnan(result.cop).all() and result.free_moment[0, 0] == 0 and not result.contact[0, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_nan_contact_spoils_only_its_own_body_and_frame(backend: str) -> None:
    """NaN stays where it came from, and is refused when asked to validate."""
    arguments = cases.make(cases.CASES[2])
    arguments["force"][0] = np.nan
    frame = int(np.searchsorted(arguments["offsets"], 0, side="right") - 1)
    result = grf.aggregate_contacts(**arguments, backend=backend)
    spoilt = np.isnan(result.force).any(-1)
    assert spoilt.sum() == 1 and spoilt[frame, arguments["body"][0]] and not result.contact[spoilt].any()
    with pytest.raises(ValueError, match=r"force: expected finite values, got 3 others, first at \(0, 0\)"):
        grf.aggregate_contacts(**arguments, backend=backend, validate=True)


def test_a_foot_is_the_sum_of_its_two_bodies() -> None:
    """The foot's CoP is the force-weighted mean of two pure vertical forces, and its wrench the sum of theirs."""
    force, cop, free = np.zeros((1, 24, 3)), np.full((1, 24, 2), np.nan), np.zeros((1, 24))
    force[0, 7], force[0, 10] = (5.0, 1.0, 100.0), (-3.0, 2.0, 300.0)
    cop[0, 7], cop[0, 10] = (0.0, 0.1), (0.2, 0.14)
    free[0, 7] = 0.7
    feet = grf.sum_bodies(force, cop, free, ((7, 10), (8, 11)))
    np.testing.assert_allclose(feet.force[0, 0], [2.0, 3.0, 400.0])
    np.testing.assert_allclose(feet.cop[0, 0], [0.15, 0.13])
    total = grf.moment_about_origin(force, cop, free)[0].sum(0)
    np.testing.assert_allclose(grf.moment_about_origin(*feet[:3])[0, 0], total, atol=1e-12)
    assert np.isnan(feet.cop[0, 1]).all() and not feet.contact[0, 1]


@pytest.mark.parametrize("substeps", [1, 2, 3, 8, 15])
def test_compiled_averages_equal_the_reference(substeps: int) -> None:
    """Averages at frames and over transitions agree; positions of bodies without contact (NaN) are never read."""
    inputs = cases.make_substeps(transitions=5, substeps=substeps)
    expected = grf.average_ground_reaction(**inputs, substeps_per_frame=substeps, backend="reference")
    got = grf.average_ground_reaction(**inputs, substeps_per_frame=substeps, backend="numba")
    for name, want in expected._asdict().items():
        np.testing.assert_allclose(getattr(got, name), want, rtol=1e-12, atol=1e-11, err_msg=name)
    assert np.isfinite(expected.grf).all()


@pytest.mark.parametrize("substeps", [1, 2, 7, 8])
def test_frame_windows_tile_the_stretch_so_that_impulse_is_conserved(substeps: int) -> None:
    """Ends count half: sum of grf over frames = sum of grf_mean over transitions = mean force times duration."""
    inputs = cases.make_substeps(transitions=6, substeps=substeps)
    result = grf.average_ground_reaction(**inputs, substeps_per_frame=substeps)
    ends_half = np.array([0.5, 1, 1, 1, 1, 1, 0.5])
    np.testing.assert_allclose(np.tensordot(ends_half, result.grf, 1), result.grf_mean.sum(0), atol=1e-9)
    np.testing.assert_allclose(result.grf_mean.sum(0) * substeps, inputs["force"].sum(0), atol=1e-9)
    assert result.is_edge.tolist() == [True, False, False, False, False, False, True]


def test_the_middle_substep_of_an_odd_transition_is_cut_in_half() -> None:
    """Three substeps of 3, 6, 12 N between two frames: 3 + 6/2 to the left over 1.5, 6/2 + 12 to the right over 1.5."""
    force = np.zeros((3, 1, 3))
    force[:, 0, 2] = 3.0, 6.0, 12.0
    result = grf.average_ground_reaction(force, np.zeros_like(force), np.zeros_like(force), substeps_per_frame=3)
    np.testing.assert_allclose(result.grf[:, 0, 2], [6.0 / 1.5, 15.0 / 1.5])
    np.testing.assert_allclose(result.grf_mean[0, 0, 2], 7.0)


def test_the_averaged_centre_is_averaged_moment_over_averaged_force_not_a_mean_of_centres() -> None:
    """100 N at x = 0 before the frame and 300 N at x = 1 m after it: 0.75 m; a mean of centres would say 0.5 m."""
    force, position = np.zeros((4, 1, 3)), np.zeros((4, 1, 3))
    force[:, 0, 2] = 100.0, 100.0, 300.0, 300.0
    position[2:, 0, 0] = 1.0
    result = grf.average_ground_reaction(force, np.zeros_like(force), position, substeps_per_frame=2)
    np.testing.assert_allclose(result.cop[:, 0, 0], [0.0, 0.75, 1.0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_adding_substeps_in_runs_equals_adding_them_at_once(backend: str) -> None:
    """A simulation that hands over substeps in uneven runs, as strided views, gets the same record bit for bit."""
    inputs = cases.make_substeps(transitions=4, substeps=5)
    wide = np.concatenate([inputs["force"], inputs["torque"], inputs["position"]], axis=-1)
    sums = grf.start_contact_wrench(5)
    for begin, end in ((0, 1), (1, 9), (9, 13), (13, 20)):
        part = wide[begin:end]
        grf.accumulate_contact_wrench(
            *sums,
            part[..., :3],
            part[..., 3:6],
            part[..., 6:],
            substeps_per_frame=5,
            first_substep=begin,
            backend=backend,
        )
    got = grf.finish_contact_wrench(*sums, substeps_per_frame=5)
    for have, want in zip(
        got, grf.average_ground_reaction(**inputs, substeps_per_frame=5, backend=backend), strict=True
    ):
        np.testing.assert_array_equal(have, want)


def _arguments(**changed: object) -> dict:
    return cases.make(cases.CASES[2]) | changed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"force": np.zeros((3, 2))}, r"force: expected shape \(C, 3\), got \(3, 2\)"),
        ({"body": np.zeros(2, int)}, r"body: expected shape \(C\) with C = \d+ as in position, got \(2,\)"),
        ({"num_bodies": 3}, r"body: expected values in \[0, 3\)"),
        ({"offsets": np.array([0, 5, 2, 7])}, "offsets: expected a vector from 0 to"),
        ({"offsets": np.array([], dtype=int)}, "offsets: expected a vector from 0 to"),
        ({"min_force": 0.0}, "min_force: expected a positive"),
        ({"backend": "cuda"}, r"expected backend 'auto' or one of \['numba', 'reference'\], got 'cuda'"),
    ],
)
def test_wrong_arguments_are_named(changed: dict, message: str) -> None:
    """The error says which argument, what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        grf.aggregate_contacts(**_arguments(**changed))


def test_wrong_dtypes_and_decreasing_offsets_are_named() -> None:
    """Integers as forces, mixed floats, float bodies, offsets that go back."""
    arguments = _arguments()
    with pytest.raises(ValueError, match="position: expected dtype float32 or float64, got int64"):
        grf.aggregate_contacts(**arguments | {"position": arguments["position"].astype(int)})
    with pytest.raises(ValueError, match="force: expected dtype float64 as in position, got float32"):
        grf.aggregate_contacts(**arguments | {"force": arguments["force"].astype(np.float32)})
    with pytest.raises(ValueError, match="body: expected an integer dtype, got float64"):
        grf.aggregate_contacts(**arguments | {"body": arguments["body"].astype(float)})
    total = len(arguments["body"])
    with pytest.raises(ValueError, match="offsets: expected non-decreasing offsets, got 9 then 4"):
        grf.aggregate_contacts(**arguments | {"offsets": np.array([0, 9, 4, total])})


def test_substeps_beyond_the_stretch_are_refused() -> None:
    """Neither too many substeps nor a torn last transition are accepted."""
    inputs = cases.make_substeps(transitions=2, substeps=4)
    with pytest.raises(ValueError, match="expected K = a positive multiple of 3 substeps, got 8"):
        grf.average_ground_reaction(**inputs, substeps_per_frame=3)
    with pytest.raises(ValueError, match="got 1 to 9"):
        grf.accumulate_contact_wrench(*grf.start_contact_wrench(3), **inputs, substeps_per_frame=4, first_substep=1)
    with pytest.raises(ValueError, match="frame_weight: expected dtype float64"):
        sums = grf.start_contact_wrench(3)
        grf.accumulate_contact_wrench(sums[0], sums[1].astype(np.float32), sums[2], **inputs, substeps_per_frame=4)

"""Ground reactions: reference against hand-worked numbers and invariants, compiled against reference, boundaries."""

import itertools

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from kernels import _threads, grf
from kernels.grf import cases, numba_cpu

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


@pytest.mark.parametrize("backend", BACKENDS)
def test_friction_above_the_plane_moves_the_centre_as_on_a_force_plate(backend: str) -> None:
    """40 N of friction at 0.05 m height under 200 N: 0.01 m towards where the body is pushed."""
    result = grf.aggregate_contacts(
        np.array([[0.3, -0.2, 0.05]]), np.array([[40.0, -40.0, 200.0]]), None, np.array([0]), np.array([0, 1]),
        num_bodies=1, backend=backend,
    )  # fmt: skip
    np.testing.assert_allclose(result.cop[0, 0], [0.29, -0.19])
    np.testing.assert_allclose(result.free_moment[0, 0], 0.0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sliding_feet_that_press_have_the_centre_of_the_pressure_alone(backend: str) -> None:
    """Friction in the plane z = 0 moves no centre of pressure; opposite frictions leave a free moment."""
    position = np.array([[0.0, 0.0, 0.0], [0.0, 0.2, 0.0]])
    force = np.array([[90.0, 0.0, 100.0], [-90.0, 0.0, 100.0]])
    result = grf.aggregate_contacts(
        position, force, None, np.zeros(2, int), np.array([0, 2]), num_bodies=1, backend=backend
    )
    np.testing.assert_allclose(result.cop[0, 0], [0.0, 0.1])
    np.testing.assert_allclose(result.free_moment[0, 0], 18.0)


@pytest.mark.parametrize("backend", [*BACKENDS, "torch"])
def test_no_frames_give_empty_arrays(backend: str) -> None:
    """An empty batch has the shapes of a batch."""
    arguments = cases.make(cases.Case(name="none", frames=0, contacts=0, note=""))
    result = grf.aggregate_contacts(**(_tensors(arguments) if backend == "torch" else arguments), backend=backend)
    assert [tuple(field.shape) for field in result] == [(0, 24, 3), (0, 24, 2), (0, 24), (0, 24)]


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


def _tensors(arguments: dict) -> dict:
    torch = pytest.importorskip("torch")
    return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_sorted_segment_sums_equal_the_reference_on_every_case(case: cases.Case) -> None:
    """Tensors give the reference's numbers to the rounding of the output dtype, NaN for NaN."""
    arguments = cases.make(case)
    expected = grf.aggregate_contacts(**arguments, backend="reference")
    got = grf.aggregate_contacts(**_tensors(arguments))
    for name, want in expected._asdict().items():
        have = getattr(got, name).numpy()
        assert have.dtype == want.dtype and have.shape == want.shape
        if want.dtype == bool:
            assert np.array_equal(have, want)
        else:
            scale = max(1.0, float(np.nanmax(np.abs(want), initial=0.0)))
            np.testing.assert_allclose(have / scale, want / scale, rtol=0, atol=TOLERANCE[case.dtype], err_msg=name)


@pytest.mark.parametrize("is_tensor", [False, True], ids=["numba", "torch"])
def test_results_are_the_same_bits_for_any_number_of_threads_and_in_every_run(
    is_tensor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame is summed by one thread, in the order of its contacts."""
    torch = pytest.importorskip("torch")
    arguments = cases.make(cases.Case(name="long", frames=301, contacts=6, is_ragged=True, note=""))
    monkeypatch.setattr(numba_cpu, "_LEAST_ITEMS", 1)
    found, before = [], torch.get_num_threads()
    try:
        for count in (1, 2, 3, 3):
            _threads.set_num_threads(count)
            torch.set_num_threads(count)
            found.append(grf.aggregate_contacts(**(_tensors(arguments) if is_tensor else arguments)))
    finally:
        _threads.set_num_threads(None)
        torch.set_num_threads(before)
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


def test_gradients_of_the_tensor_form_pass_gradcheck() -> None:
    """Force, centre of pressure and free moment of pressed bodies, with respect to positions, forces and torques."""
    torch = pytest.importorskip("torch")
    arguments = _tensors(cases.make(cases.Case(name="g", frames=3, contacts=4, bodies=2, dtype="float64", note="")))
    arguments["force"][:, 2] = arguments["force"][:, 2].abs() + 50.0
    inputs = [arguments.pop(key).requires_grad_() for key in ("position", "force", "torque")]

    def run(*values):
        reaction = grf.aggregate_contacts(*values, **arguments)
        return reaction.force, reaction.cop[reaction.contact], reaction.free_moment

    assert torch.autograd.gradcheck(run, inputs, eps=1e-5, atol=1e-6)


def test_given_outputs_are_written_everywhere_and_strided_views_are_read() -> None:
    """Arrays full of other values hold the result afterwards; views with gaps give the same as their copies."""
    arguments = cases.make(cases.CASES[2])
    expected = grf.aggregate_contacts(**arguments)
    out = grf.GroundReaction(*(np.full_like(field, 7) for field in expected))
    wide = arguments | {key: np.repeat(arguments[key], 2, axis=-1)[:, ::2] for key in ("position", "force", "torque")}
    wide |= {key: np.repeat(arguments[key], 2)[::2] for key in ("body", "offsets")}
    assert not wide["force"].flags.c_contiguous and not wide["body"].flags.c_contiguous
    assert grf.aggregate_contacts(**wide, out=out) is out
    for first, second in zip(expected, out, strict=True):
        np.testing.assert_array_equal(first, second)


def test_wrong_outputs_and_tensors_are_named() -> None:
    """Outputs of another shape or dtype or with gaps; tensors with wrong bodies, offsets, dtypes or backend."""
    arguments = cases.make(cases.CASES[2])
    good = grf.aggregate_contacts(**arguments)
    with pytest.raises(ValueError, match=r"out\.cop: expected shape \(37, 24, 2\) of float64, got \(37, 24, 3\)"):
        grf.aggregate_contacts(**arguments, out=good._replace(cop=good.force))
    with pytest.raises(ValueError, match=r"out\.contact: expected shape"):
        grf.aggregate_contacts(**arguments, out=good._replace(contact=good.contact.astype(int)))
    with pytest.raises(ValueError, match=r"out\.force: expected a C-contiguous array"):
        grf.aggregate_contacts(**arguments, out=good._replace(force=np.zeros((37, 24, 6))[..., ::2]))
    tensors = _tensors(arguments)
    with pytest.raises(ValueError, match=r"body: expected values in \[0, 24\), got -1 to"):
        grf.aggregate_contacts(**tensors | {"body": tensors["body"] - tensors["body"].min() - 1})
    with pytest.raises(ValueError, match="offsets: expected a vector from 0 to"):
        grf.aggregate_contacts(**tensors | {"offsets": tensors["offsets"][:-4]})
    with pytest.raises(ValueError, match="offsets: expected non-decreasing"):
        grf.aggregate_contacts(**tensors | {"offsets": tensors["offsets"][[0, 20, 10, -1]]})
    with pytest.raises(ValueError, match="force: expected a floating-point dtype"):
        grf.aggregate_contacts(**tensors | {"force": tensors["force"].long()})
    with pytest.raises(ValueError, match=r"one of \['torch'\], got 'numba'"):
        grf.aggregate_contacts(**tensors, backend="numba")


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


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_running_sums_that_may_not_be_written_are_named(backend: str) -> None:
    sums = grf.start_contact_wrench(2)
    sums[2].flags.writeable = False
    wrench = np.ones((2, 24, 3))
    with pytest.raises(ValueError, match="transition_force: expected an array that may be written"):
        grf.accumulate_contact_wrench(*sums, wrench, wrench, wrench, substeps_per_frame=2, backend=backend)
    assert not sums[0].any()

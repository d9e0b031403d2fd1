"""Marker positions: hand-worked poses, rigidity, agreement of backends, gradients, boundaries."""

import numpy as np
import pytest

from kernels import markers
from kernels.markers import cases

# One rounding to float32 of positions within 4 m is 2.4e-7 m; torch sums in float32. float64 sums differ in order only.
TOLERANCE = {"float32": {"numba": 2.4e-7, "torch": 1e-6}, "float64": {"numba": 1e-14, "torch": 1e-14}}


def _place(arguments: dict, backend: str) -> np.ndarray:
    if backend != "torch":
        return markers.place_markers(**arguments, backend=backend)
    torch = pytest.importorskip("torch")
    dtype = torch.from_numpy(arguments["body_pos"]).dtype
    tensors = {key: torch.from_numpy(value) for key, value in arguments.items()}
    tensors = {key: value.to(dtype) if value.is_floating_point() else value for key, value in tensors.items()}
    return markers.place_markers(**tensors, backend="torch").numpy()


@pytest.mark.parametrize("backend", ["reference", "numba", "torch"])
def test_a_quarter_turn_about_the_vertical_carries_a_forward_marker_to_the_left(backend: str) -> None:
    """Joint at 1 m height, marker 0.3 m in front of it; the body moves to (2, 0, 1) and turns left by 90 degrees."""
    arguments = {
        "points": np.array([[0.3, 0.0, 1.1]]),
        "joint_pos": np.array([[0.0, 0.0, 1.0]]),
        "bodies": np.array([[0]]),
        "weights": np.array([[1.0]]),
        "body_pos": np.array([[[2.0, 0.0, 1.0]]]),
        "body_rot": np.array([[[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]]),
    }
    np.testing.assert_allclose(_place(arguments, backend)[0, 0], [2.0, 0.3, 1.1], atol=1e-15)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_fast_backends_equal_the_reference_on_every_case(case: cases.Case, backend: str) -> None:
    """Within rounding of the dtype, which is below the 1e-6 m that is asked for."""
    arguments = cases.make(case)
    expected = markers.place_markers(
        **arguments | {key: arguments[key].astype(np.float64) for key in ("body_pos", "body_rot")}, backend="reference"
    )
    got = _place(arguments, backend)
    assert got.dtype == case.dtype and got.shape == (case.frames, case.markers, 3)
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[case.dtype][backend])


@pytest.mark.parametrize("backend", ["reference", "numba", "torch"])
def test_the_rest_pose_gives_the_rest_points(backend: str) -> None:
    """Bodies at their own joints without rotation leave every marker where it is, whatever its weights."""
    arguments = cases.make(cases.CASES[3])
    arguments["body_pos"] = arguments["joint_pos"][arguments["subject"]]
    arguments["body_rot"] = np.broadcast_to(np.eye(3), (31, 24, 3, 3)).copy()
    np.testing.assert_allclose(_place(arguments, backend), arguments["points"][arguments["subject"]], atol=1e-15)


@pytest.mark.parametrize("backend", ["reference", "numba", "torch"])
def test_moving_the_whole_body_moves_its_markers_rigidly(backend: str) -> None:
    """A rotation Q and a shift d of all bodies give Q p + d for skinned markers too."""
    arguments = cases.make(cases.CASES[3])
    turn = cases.make(cases.CASES[0], seed=9)["body_rot"][0, 0].astype(np.float64)
    turn = np.linalg.qr(turn)[0]
    shift = np.array([0.4, -0.2, 0.1])
    moved = arguments | {
        "body_pos": arguments["body_pos"] @ turn.T + shift,
        "body_rot": turn @ arguments["body_rot"],
    }
    expected = _place(arguments, backend) @ turn.T + shift
    np.testing.assert_allclose(_place(moved, backend), expected, atol=1e-13)


def test_markers_on_one_body_keep_their_distances() -> None:
    """A rigid laboratory set does not stretch."""
    arguments = cases.make(cases.CASES[4])
    arguments["bodies"] = np.full_like(arguments["bodies"], 9)
    placed = markers.place_markers(**arguments)
    rest = np.linalg.norm(arguments["points"][0, 1:] - arguments["points"][0, :-1], axis=-1)
    distance = np.linalg.norm(np.diff(placed, axis=1), axis=-1)
    np.testing.assert_allclose(distance, np.broadcast_to(rest, distance.shape), atol=2e-6)


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_a_nan_pose_spoils_only_the_markers_its_body_carries(backend: str) -> None:
    """A zero weight does not carry a NaN over."""
    arguments = cases.make(cases.CASES[3])
    arguments["body_pos"][4, 6] = np.nan
    bad = np.isnan(_place(arguments, backend)).any(-1)
    carries = ((arguments["bodies"] == 6) & (arguments["weights"] != 0)).any(1)
    np.testing.assert_array_equal(bad[4], carries)
    assert not np.delete(bad, 4, axis=0).any()


def test_torch_gradients_agree_with_finite_differences() -> None:
    """Gradcheck through points, joints, weights and poses in float64."""
    torch = pytest.importorskip("torch")
    small = cases.Case(name="grad", frames=2, markers=3, weights=2, subjects=2, dtype="float64", note="")
    tensors = {key: torch.from_numpy(value) for key, value in cases.make(small).items()}
    names = ("points", "joint_pos", "weights", "body_pos", "body_rot")
    for name in names:
        tensors[name].requires_grad_(True)

    def run(*values):
        return markers.place_markers(**tensors | dict(zip(names, values, strict=True)))

    assert torch.autograd.gradcheck(run, tuple(tensors[name] for name in names))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"points": np.zeros((5, 8, 3))}, r"bodies: expected shape \(M, K\) with M = 8 as in points, got \(7, 3\)"),
        ({"body_rot": np.zeros((31, 24, 4))}, r"body_rot: expected shape \(T, N, 3, 3\), got \(31, 24, 4\)"),
        ({"bodies": np.full((7, 3), 24)}, r"bodies: expected values in \[0, 24\), got 24 to 24"),
        ({"subject": np.full(31, -1)}, r"subject: expected values in \[0, 5\), got -1 to -1"),
        ({"subject": np.zeros(30, int)}, r"subject: expected shape \(T\) with T = 31 as in body_pos, got \(30,\)"),
        ({"subject": None}, "subject: expected the subject of each frame, since points are of 5"),
        ({"body_rot": np.zeros((31, 24, 3, 3), np.float32)}, "body_rot: expected dtype float64 as in body_pos"),
        ({"backend": "torch"}, r"expected backend 'auto' or one of \['numba', 'reference'\], got 'torch'"),
        ({"weights": np.full((7, 3), 0.5), "validate": True}, "weights: expected rows that sum to 1, got 1.5 in row 0"),
        ({"points": np.full((5, 7, 3), np.nan), "validate": True}, "points: expected finite values"),
    ],
)
def test_wrong_arguments_are_named(changed: dict, message: str) -> None:
    """The error says which argument, what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        markers.place_markers(**cases.make(cases.CASES[3]) | changed)


def test_tensors_do_not_fall_back_to_another_backend() -> None:
    """A tensor with the name of an array backend is an error; indices are checked on the CPU."""
    torch = pytest.importorskip("torch")
    tensors = {key: torch.from_numpy(value) for key, value in cases.make(cases.CASES[3]).items()}
    with pytest.raises(ValueError, match=r"expected backend 'auto' or one of \['torch'\], got 'numba'"):
        markers.place_markers(**tensors, backend="numba")
    with pytest.raises(ValueError, match=r"bodies: expected values in \[0, 24\)"):
        markers.place_markers(**tensors | {"bodies": tensors["bodies"] + 24})

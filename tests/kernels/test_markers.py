"""Marker positions: hand-worked poses, rigidity, agreement of backends, gradients, boundaries."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bench.bench_markers import pose_bodies
from bench.synthetic_smpl import marker_arguments, smplx_model, synthetic_smpl
from kernels import _threads, markers
from kernels.markers import cases, numba_cpu

# One rounding to float32 of positions within 4 m is 2.4e-7 m; torch sums in float32. float64 sums differ in order only.
TOLERANCE = {"float32": {"numba": 2.4e-7, "torch": 1e-6}, "float64": {"numba": 1e-14, "torch": 1e-14}}


def _place(arguments: dict, backend: str) -> np.ndarray:
    if backend != "torch":
        return markers.place_markers(**arguments, backend=backend)
    torch = pytest.importorskip("torch")
    dtype = torch.from_numpy(arguments["body_pos"]).dtype
    return markers.place_markers(**_tensors(arguments, dtype), backend="torch").numpy()


def _tensors(arguments: dict, dtype) -> dict:
    torch = pytest.importorskip("torch")

    def tensor(value):
        if isinstance(value, markers.PoseBlend):
            return markers.PoseBlend(directions=tensor(value.directions), parents=tensor(value.parents))
        if value is None:
            return None
        made = torch.from_numpy(value)
        return made.to(dtype) if made.is_floating_point() else made

    return {key: tensor(value) for key, value in arguments.items()}


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


@pytest.mark.parametrize("has_blend", [False, True], ids=["skin", "blend"])
def test_torch_gradients_agree_with_finite_differences(has_blend: bool) -> None:
    """Gradcheck through points, joints, weights, poses and blend directions in float64."""
    torch = pytest.importorskip("torch")
    small = cases.Case(
        name="grad", frames=2, markers=3, weights=2, subjects=2, has_blend=has_blend, dtype="float64", note=""
    )
    tensors = _tensors(cases.make(small), torch.float64)
    names = ("points", "joint_pos", "weights", "body_pos", "body_rot")
    inputs = [tensors[name].requires_grad_() for name in names]
    if has_blend:
        inputs.append(tensors["blend"].directions.requires_grad_())

    def run(*values):
        changed = dict(zip(names, values, strict=False))
        if has_blend:
            changed["blend"] = markers.PoseBlend(directions=values[-1], parents=tensors["blend"].parents)
        return markers.place_markers(**tensors | changed)

    assert torch.autograd.gradcheck(run, inputs, fast_mode=has_blend)


@pytest.mark.parametrize("backend", ["reference", "numba", "torch"])
def test_blend_of_one_bent_joint_moves_the_rest_point_by_its_direction(backend: str) -> None:
    """A knee turned by 90 degrees about x has (R - 1)_22 = -1: a marker on the root moves by minus that row."""
    rot = np.tile(np.eye(3), (1, 2, 1, 1))
    rot[0, 1] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    directions = np.zeros((9, 1, 3))
    directions[8, 0] = 0.01, 0.02, 0.03
    arguments = {
        "points": np.array([[0.1, 0.0, 0.0]]), "joint_pos": np.zeros((2, 3)), "bodies": np.array([[0]]),
        "weights": np.array([[1.0]]), "body_pos": np.zeros((1, 2, 3)), "body_rot": rot,
        "blend": markers.PoseBlend(directions=directions, parents=np.array([-1, 0])),
    }  # fmt: skip
    np.testing.assert_allclose(_place(arguments, backend)[0, 0], [0.09, -0.02, -0.03], atol=1e-15)


def test_markers_of_an_smpl_model_are_those_of_the_full_mesh() -> None:
    """Within 1e-6 m of `smplx` on the chosen vertices, pose blend shapes and body shape included."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("smplx")
    arrays = synthetic_smpl(num_vertices=300)
    rng = np.random.default_rng(4)
    betas, vertices = rng.normal(0.0, 1.0, 10), rng.choice(300, 53, replace=False)
    pose = rng.normal(0.0, 0.4, (19, 24, 3))
    model = smplx_model(arrays)
    with torch.no_grad():
        body = model(
            betas=torch.from_numpy(betas).float().expand(19, -1), global_orient=torch.from_numpy(pose[:, :1]).float(),
            body_pose=torch.from_numpy(pose[:, 1:]).float(),
        )  # fmt: skip
    arguments = marker_arguments(arrays, vertices, betas)
    local = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(19, 24, 3, 3)
    body_pos, body_rot = pose_bodies(arguments["joint_pos"], local)
    placed = markers.place_markers(**arguments, body_pos=body_pos, body_rot=body_rot)
    np.testing.assert_allclose(placed, body.vertices.numpy()[:, vertices], rtol=0, atol=1e-6)


def test_threads_and_given_outputs_change_no_bit_and_strided_views_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are independent, whatever block of frames they are in."""
    arguments = cases.make(
        cases.Case(name="long", frames=43, markers=5, weights=2, subjects=2, has_blend=True, note="")
    )
    expected = markers.place_markers(**arguments)
    out = np.full_like(expected, np.nan)
    names = ("body_pos", "body_rot", "subject", "bodies", "weights")
    wide = arguments | {key: np.repeat(arguments[key], 2, axis=0)[::2] for key in names}
    wide["points"] = np.asfortranarray(arguments["points"])
    monkeypatch.setattr(numba_cpu, "_LEAST_ITEMS", 1)
    _threads.set_num_threads(3)
    try:
        assert markers.place_markers(**wide, out=out) is out
    finally:
        _threads.set_num_threads(None)
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match=r"out: expected shape \(43, 5, 3\) of float32, got \(43, 5, 3\) of float64"):
        markers.place_markers(**arguments, out=expected.astype(np.float64))


def test_a_wrong_blend_is_named() -> None:
    """Rows of the blend matrix, its markers, and parents."""
    arguments = cases.make(cases.CASES[6])
    directions, parents = arguments["blend"].directions, arguments["blend"].parents
    for changed, message in (
        ({"directions": directions[:-1]}, r"directions: expected shape \(207, 11, 3\), got \(206, 11, 3\)"),
        ({"parents": parents[:-1]}, r"parents: expected shape \(24\), got \(23,\)"),
        ({"parents": parents + 10}, r"parents: expected values in \[0, 24\), got 10 to 31"),
        ({"directions": directions.astype(int)}, "directions: expected dtype float32 or float64"),
    ):
        blend = markers.PoseBlend(**{"directions": directions, "parents": parents} | changed)
        with pytest.raises(ValueError, match=message):
            markers.place_markers(**arguments | {"blend": blend})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"points": np.zeros((5, 8, 3))}, r"bodies: expected shape \(M, K\) with M = 8 as in points, got \(7, 3\)"),
        ({"body_rot": np.zeros((31, 24, 4))}, r"body_rot: expected shape \(T, N, 3, 3\), got \(31, 24, 4\)"),
        ({"bodies": np.full((7, 3), 24)}, r"bodies: expected values in \[0, 24\), got 24 to 24"),
        ({"subject": np.full(31, -1)}, r"subject: expected values in \[0, 5\), got -1 to -1"),
        ({"subject": np.zeros(30, int)}, r"subject: expected shape \(T\) with T = 31 as in body_pos, got \(30,\)"),
        ({"subject": None}, "subject: expected the subject of each frame, since points are of 5"),
        ({"body_pos": np.zeros((31, 24, 3), int)}, "body_pos: expected dtype float32 or float64, got int64"),
        ({"bodies": np.zeros((7, 3))}, "bodies: expected an integer dtype, got float64"),
        ({"out": np.zeros((31, 7, 6))[..., ::2]}, "out: expected a C-contiguous array"),
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
    tensors = _tensors(cases.make(cases.CASES[3]), torch.float64)
    with pytest.raises(ValueError, match=r"expected backend 'auto' or one of \['torch'\], got 'numba'"):
        markers.place_markers(**tensors, backend="numba")
    with pytest.raises(ValueError, match=r"bodies: expected values in \[0, 24\)"):
        markers.place_markers(**tensors | {"bodies": tensors["bodies"] + 24})

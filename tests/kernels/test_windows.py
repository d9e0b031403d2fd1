"""The window kernel: hand-worked windows, invariances, compiled against reference, boundaries."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.windows import Disturbance, make_tokens
from kernels.windows.cases import CASES, Case, make

TOLERANCE = {"float32": 3e-4, "float64": 1e-11}
"""Largest absolute difference between backends: velocities of 30 Hz amplify the rounding of metres."""

SMALL = [case for case in CASES if case.frames < 1000]


def _plain(markers: np.ndarray, **changes) -> np.ndarray:
    """Tokens of one window over all frames and markers, without frame change unless asked."""
    frames, count, _ = markers.shape
    arguments = {
        "frame": np.array([frames // 2 - 1]), "index": np.arange(count, dtype=np.int32)[None],
        "origin": np.zeros((1, 3)), "heading": np.zeros(1), "half_width": frames // 2 - 1,
    }  # fmt: skip
    return make_tokens(markers, **(arguments | changes))[0][0]


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_a_token_holds_position_and_forward_central_backward_difference_of_each_frame(backend):
    """Worked by hand: x = w², so differences are 1, (4−0)/2, ..., and a central difference sees no curvature."""
    frames = np.arange(4.0)
    markers = np.stack([frames**2, 0 * frames, 1 + 0 * frames], axis=-1)[:, None]
    token = _plain(markers, backend=backend, rate=10.0)[0].reshape(4, 6)
    assert token[:, :3].tolist() == [[0, 0, 1], [1, 0, 1], [4, 0, 1], [9, 0, 1]]
    assert token[:, 3:].tolist() == [[10, 0, 0], [20, 0, 0], [40, 0, 0], [50, 0, 0]]


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_moving_and_turning_the_world_with_the_window_frame_changes_nothing(backend):
    """Tokens depend on the motion seen from the window's frame only."""
    arguments = make(next(case for case in CASES if case.name == "prime")) | {"disturbance": None, "backend": backend}
    expected, mask = make_tokens(**arguments)
    turn, shift = 0.7, np.array([3.0, -2.0, 0.0])
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    moved = arguments | {
        "marker_pos": arguments["marker_pos"] @ rotation.T + shift,
        "origin": arguments["origin"] @ rotation.T + shift,
        "heading": arguments["heading"] + turn,
    }
    actual, moved_mask = make_tokens(**moved)
    assert np.abs(actual - expected).max() < 1e-11
    assert (mask == moved_mask).all()


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_mirroring_negates_the_lateral_features_only(backend):
    """Reflection in the plane y = 0 of the window frame."""
    arguments = make(next(case for case in CASES if case.name == "plain")) | {"backend": backend}
    windows = len(arguments["frame"])
    plain, _ = make_tokens(**(arguments | {"is_mirrored": np.zeros(windows, bool)}))
    mirrored, _ = make_tokens(**(arguments | {"is_mirrored": np.ones(windows, bool)}))
    sign = np.tile([1.0, -1.0, 1.0], 12)
    assert (mirrored == plain * sign).all()
    assert np.abs(plain[..., 1::3]).max() > 1.0


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_noise_has_the_sizes_asked_for_and_a_part_that_stays_over_the_window(backend):
    """Offset is shared by a marker's frames (so absent from its velocities), jitter is not."""
    rng = np.random.default_rng(0)
    markers = np.zeros((6, 400, 3))
    noise = {"table": rng.normal(size=400 * 21), "start": np.zeros(1, np.int64)}
    offset = Disturbance(**noise, offset_size=np.array([0.01]), jitter_size=np.array([0.0]))
    token = _plain(markers, disturbance=offset, backend=backend).reshape(400, 6, 2, 3)
    assert abs(token[:, :, 0].std() / 0.01 - 1) < 0.05
    assert np.abs(token[:, :, 1]).max() < 1e-14
    jitter = Disturbance(**noise, offset_size=np.array([0.0]), jitter_size=np.array([0.002]))
    token = _plain(markers, disturbance=jitter, backend=backend).reshape(400, 6, 2, 3)
    assert abs(token[:, :, 0].std() / 0.002 - 1) < 0.05
    assert abs(token[:, 0, 1].std() / (30 * 0.002 * np.sqrt(2)) - 1) < 0.05


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_a_marker_with_a_gap_in_its_window_is_absent_and_zero(backend):
    """NaN never reaches the network, and other markers of the window do not suffer."""
    markers = np.ones((6, 3, 3))
    markers[4, 1, 2] = np.nan
    index, frame = np.array([[0, 1, 2, -1]]), {"origin": np.zeros((1, 3)), "heading": np.zeros(1)}
    tokens, mask = make_tokens(markers, np.array([2]), index, **frame, backend=backend)
    assert mask.tolist() == [[True, False, True, False]]
    assert (tokens[0, [1, 3]] == 0).all()
    assert (tokens[0, [0, 2]].reshape(2, 6, 6)[..., :3] == 1).all()


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_compiled_equals_reference_and_writes_every_element(case: Case):
    """Same tokens and mask; outputs start as NaN and True so that an unwritten element fails."""
    arguments = make(case)
    expected, expected_mask = make_tokens(**arguments, backend="reference")
    tokens, mask = np.full_like(expected, np.nan), np.ones_like(expected_mask)
    make_tokens(**arguments, out=(tokens, mask), backend="numba")
    assert np.abs(tokens - expected).max(initial=0.0) <= TOLERANCE[case.dtype]
    assert (mask == expected_mask).all()
    if case.has_gaps and expected_mask.size:
        assert 0 < expected_mask.sum() < expected_mask.size


def test_wrong_arguments_raise_with_what_was_expected():
    """Boundaries are checked once, before compiled code reads memory."""
    arguments = make(next(case for case in CASES if case.name == "prime"))
    with pytest.raises(ValueError, match="frame: expected 2 frames before and 3 after each, within 31, got 28 to 28"):
        make_tokens(**(arguments | {"frame": np.full(11, 28)}))
    with pytest.raises(ValueError, match="index: expected signed integers below 7"):
        make_tokens(**(arguments | {"index": np.full((11, 5), 7)}))
    with pytest.raises(ValueError, match="origin: expected shape"):
        make_tokens(**(arguments | {"origin": np.zeros((11, 2))}))
    zeros = np.zeros(11)
    short = Disturbance(table=np.zeros(100), start=zeros.astype(int), offset_size=zeros, jitter_size=zeros)
    with pytest.raises(ValueError, match=r"disturbance.start: expected values in"):
        make_tokens(**(arguments | {"disturbance": short}))
    with pytest.raises(ValueError, match="half_width: expected 0 or more"):
        make_tokens(**(arguments | {"half_width": -1}))


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_a_marker_carried_forward_is_seen_moving_along_x(backend):
    """Walking along world y at 1.5 m/s with heading y: forward is +x, 0.1 m in front of the pelvis in frame t."""
    time = np.arange(8) / 30
    markers = np.stack([np.full(8, 4.0), 2.1 + 1.5 * time, np.full(8, 0.9)], axis=-1)[:, None]
    tokens, _ = make_tokens(
        markers, np.array([3]), np.zeros((1, 1), np.int32), origin=np.array([[4.0, 2.0 + 1.5 * time[3], 0.0]]),
        heading=np.array([np.pi / 2]), backend=backend,
    )  # fmt: skip
    expected = np.tile([0.1, 0.0, 0.9, 1.5, 0.0, 0.0], (6, 1))
    expected[:, 0] += 1.5 * np.arange(-2, 4) / 30
    np.testing.assert_allclose(tokens[0, 0].reshape(6, 6), expected, atol=1e-11)


def test_markers_are_read_from_a_memory_map(tmp_path):
    """Bit for bit the tokens of the array in memory, from a read-only file."""
    arguments = make(next(case for case in CASES if case.name == "plain"))
    np.save(tmp_path / "markers.npy", arguments["marker_pos"])
    mapped = np.load(tmp_path / "markers.npy", mmap_mode="r", allow_pickle=False)
    expected, _ = make_tokens(**arguments)
    found, _ = make_tokens(**arguments | {"marker_pos": mapped})
    np.testing.assert_array_equal(found, expected)

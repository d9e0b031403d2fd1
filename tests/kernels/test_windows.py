"""The window kernel: hand-worked windows, invariances, compiled against reference, boundaries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels import _streaming, _threads
from kernels.windows import Disturbance, DrawConfig, Draws, draw_windows, draws, make_tokens, numba_cpu
from kernels.windows.cases import CASES, Case, make

TOLERANCE = {"float32": 3e-4, "float64": 1e-11}
"""Largest absolute difference between backends: velocities of 30 Hz amplify the rounding of metres."""


def _tensors(arguments: dict) -> dict:
    torch = pytest.importorskip("torch")

    def tensor(value):
        if isinstance(value, Disturbance):
            return Disturbance(**{name: tensor(field) for name, field in vars(value).items()})
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else value

    return {key: tensor(value) for key, value in arguments.items()}


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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
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
    from_tensors, tensor_mask = make_tokens(**_tensors(arguments))
    assert from_tensors.shape == expected.shape and from_tensors.numpy().dtype == case.dtype
    assert np.abs(from_tensors.numpy() - expected).max(initial=0.0) <= TOLERANCE[case.dtype]
    assert (tensor_mask.numpy() == expected_mask).all()


@pytest.mark.parametrize("backend", ["numba", "reference", "torch"])
def test_shuffled_frames_are_shown_in_the_order_asked_for_with_the_differences_of_that_order(backend):
    """x = w² shown as 9, 0, 4, 1: differences −9, (4 − 9)/2, (1 − 0)/2, −3."""
    frames = np.arange(4.0)
    markers = np.stack([frames**2, 0 * frames, 0 * frames], axis=-1)[:, None]
    arguments = {
        "marker_pos": markers, "frame": np.array([1]), "index": np.zeros((1, 1), np.int32), "origin": np.zeros((1, 3)),
        "heading": np.zeros(1), "half_width": 1, "rate": 1.0, "order": np.array([[3, 0, 2, 1]]),
    }  # fmt: skip
    tokens, _ = make_tokens(**(_tensors(arguments) if backend == "torch" else arguments), backend=backend)
    token = np.asarray(tokens)[0, 0].reshape(4, 6)
    assert token[:, 0].tolist() == [9, 0, 4, 1]
    assert token[:, 3].tolist() == [-9, -2.5, 0.5, -3]


@pytest.mark.parametrize("backend", ["numba", "reference", "torch"])
def test_a_window_whose_frame_of_reference_is_unknown_is_absent(backend):
    """A heading or an origin that is NaN, as of a pelvis with a gap, masks all markers of that window and no others."""
    arguments = make(next(case for case in CASES if case.name == "plain"))
    _, expected = make_tokens(**arguments)
    arguments["heading"][3], arguments["origin"][5, 1] = np.nan, np.nan
    tokens, mask = make_tokens(**(_tensors(arguments) if backend == "torch" else arguments), backend=backend)
    tokens, mask, rest = np.asarray(tokens), np.asarray(mask), np.delete(np.arange(17), [3, 5])
    assert not mask[[3, 5]].any() and (tokens[[3, 5]] == 0).all()
    np.testing.assert_array_equal(mask[rest], expected[rest])


@pytest.mark.parametrize("none", [-1, -(2**31), -(2**32) + 1, -(2**63)])
@pytest.mark.parametrize("backend", ["numba", "reference", "torch"])
def test_any_negative_index_is_no_marker(backend, none):
    """Also one whose lower half would be a marker's."""
    arguments = {
        "marker_pos": np.ones((6, 3, 3)), "frame": np.array([2]), "index": np.array([[none, 1]]),
        "origin": np.zeros((1, 3)), "heading": np.zeros(1),
    }  # fmt: skip
    tokens, mask = make_tokens(**(_tensors(arguments) if backend == "torch" else arguments), backend=backend)
    assert np.asarray(mask).tolist() == [[False, True]] and not np.asarray(tokens)[0, 0].any()


@pytest.mark.parametrize("kind", ["u1", "i1", "u4", "u8"])
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_frames_may_be_numbered_by_any_integers(backend, kind):
    """Unsigned ones must not become fractions, or wrap, where frames before t are counted."""
    arguments = make(next(case for case in CASES if case.name == "odd"))
    expected = make_tokens(**arguments, backend=backend)
    found = make_tokens(**arguments | {"frame": arguments["frame"].astype(kind)}, backend=backend)
    for have, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(have, want)


def test_strided_draws_and_noise_tables_are_read():
    """Views with gaps give the tokens of their copies."""
    arguments = make(next(case for case in CASES if case.name == "prime"))
    expected, _ = make_tokens(**arguments)
    noise = arguments["disturbance"]
    twice = {key: np.repeat(value, 2)[::2] for key, value in vars(noise).items()}
    names = ("frame", "index", "origin", "heading", "is_mirrored")
    wide = arguments | {key: np.repeat(arguments[key], 2, axis=0)[::2] for key in names}
    found, _ = make_tokens(**wide | {"disturbance": Disturbance(**twice)})
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["prime", "four", "plain", "odd"])
@pytest.mark.parametrize("odd", [0, 1, 2, 4, 6])
def test_tokens_written_past_the_caches_are_the_same_at_any_address(monkeypatch, name, odd):
    """Also into an array that does not begin at a multiple of 16 bytes; nothing around it is touched."""
    arguments = make(next(case for case in CASES if case.name == name))
    expected, mask = make_tokens(**arguments)
    monkeypatch.setattr(_streaming, "_CACHED_BYTES", -1)
    room = np.full(expected.size + 8, np.nan, expected.dtype)
    tokens = room[odd : odd + expected.size].reshape(expected.shape)
    make_tokens(**arguments, out=(tokens, np.empty_like(mask)))
    np.testing.assert_array_equal(tokens, expected)
    assert np.isnan(room[:odd]).all() and np.isnan(room[odd + expected.size :]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("has_noise", [False, True])
def test_the_last_window_of_the_frames_is_the_same_bits_as_if_more_frames_followed(dtype, has_noise):
    """Behind the last marker of the last frame nothing is read, so that window goes another way."""
    case = Case(name="end", frames=9, markers=7, windows=5, tokens=7, has_noise=has_noise, dtype=dtype, note="")
    arguments = make(case)
    arguments["frame"][:] = [5, 2, 5, 3, 5]
    more = np.concatenate([arguments["marker_pos"], np.full((1, 7, 3), np.nan, dtype)])
    expected, expected_mask = make_tokens(**arguments | {"marker_pos": more})
    tokens, mask = make_tokens(**arguments)
    np.testing.assert_array_equal(tokens, expected)
    np.testing.assert_array_equal(mask, expected_mask)
    assert 0 < mask[::2].sum() < mask[::2].size


@pytest.mark.parametrize("missing", [(0,), (1,), (0, 1), (2,), (0, 2), (1, 2)])
def test_a_token_does_not_depend_on_its_neighbour_being_there(missing):
    """Two tokens share a register: either may be absent by its index or by a gap, the third one stands alone."""
    rng = np.random.default_rng(0)
    markers = rng.normal(size=(8, 3, 3)).astype(np.float32)
    arguments = {"frame": np.array([3, 2]), "origin": np.zeros((2, 3)), "heading": np.array([0.3, -2.0])}
    index = np.tile(np.arange(3, dtype=np.int32), (2, 1))
    whole, _ = make_tokens(markers, index=index, **arguments)
    expected, expected_mask = whole.copy(), np.ones((2, 3), bool)
    expected[:, missing], expected_mask[:, missing] = 0.0, False
    holed, fewer = markers.copy(), index.copy()
    holed[4, missing, 1], fewer[:, missing] = np.nan, -1
    for found, mask in (make_tokens(holed, index=index, **arguments), make_tokens(markers, index=fewer, **arguments)):
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(mask, expected_mask)


def test_threads_change_no_bit(monkeypatch):
    """Windows are independent."""
    case = Case(name="long", frames=60, markers=9, windows=31, tokens=5, note="")
    expected, mask = make_tokens(**make(case))
    monkeypatch.setattr(numba_cpu, "_LEAST_TOKENS", 1)
    _threads.set_num_threads(3)
    try:
        found, found_mask = make_tokens(**make(case))
    finally:
        _threads.set_num_threads(None)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found_mask, mask)


CONFIG = DrawConfig(
    least_markers=3, most_markers=9, mirror_share=0.5, offset_size=0.01, jitter_size=0.002, shuffled_share=0.25
)


def _draw(window: np.ndarray, seed: int = 1, epoch: int = 2, config: DrawConfig = CONFIG) -> Draws:
    return draw_windows(seed, epoch, window, num_markers=20, table_length=5000, config=config)


def test_a_window_is_drawn_the_same_in_any_batch_and_otherwise_in_another_epoch_or_seed():
    """Draws depend on (seed, epoch, window) alone."""
    window = np.random.default_rng(0).permutation(600)
    together = _draw(window)
    for part in (slice(0, 1), slice(100, 350), slice(599, 600)):
        alone = _draw(window[part])
        for name, value in vars(alone).items():
            np.testing.assert_array_equal(value, getattr(together, name)[part], err_msg=name)
    for other in (_draw(window, epoch=3), _draw(window, seed=2)):
        assert np.mean((other.index == together.index).all(axis=1)) < 0.02
        assert 0.3 < np.mean(other.is_mirrored == together.is_mirrored) < 0.7


def test_the_generator_is_splitmix64():
    """A window's numbers are those of Steele, Lea and Flood's generator; the first outputs for seed 0 are published."""
    gamma = 0x9E3779B97F4A7C15
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    with np.errstate(over="ignore"):
        found = [int(draws._mix(np.uint64(step * gamma % 2**64))) for step in (1, 2, 3)]
    assert found == expected


def test_draws_have_the_distributions_asked_for():
    """Sizes, members, shares and sizes of noise are uniform; a shuffled window is never in the recorded order."""
    drawn = _draw(np.arange(3000))
    size = (drawn.index >= 0).sum(axis=1)
    assert np.bincount(size, minlength=10)[3:].min() > 3000 / 7 * 0.8 and size.min() == 3 and size.max() == 9
    for row, count in zip(drawn.index, size, strict=True):
        assert (np.diff(row[:count]) > 0).all() and (row[count:] == -1).all()
    members = np.bincount(drawn.index[drawn.index >= 0], minlength=20)
    assert members.min() > 0.85 * members.mean() and members.max() < 1.15 * members.mean()
    assert abs(drawn.is_mirrored.mean() - 0.5) < 0.04 and abs(drawn.is_shuffled.mean() - 0.25) < 0.04
    recorded = (drawn.order == np.arange(6)).all(axis=1)
    assert (recorded == ~drawn.is_shuffled).all()
    assert (np.sort(drawn.order, axis=1) == np.arange(6)).all()
    first = np.bincount(drawn.order[drawn.is_shuffled, 0], minlength=6)
    assert first.min() > 0.7 * first.mean()
    assert abs(drawn.offset_size.mean() - 0.005) < 3e-4 and drawn.offset_size.max() < 0.01
    assert drawn.start.min() >= 0 and drawn.start.max() <= 5000 - 3 * 7 * 9
    assert abs(drawn.start.mean() / (0.5 * (5000 - 3 * 7 * 9)) - 1) < 0.05


def test_draws_fit_the_kernel():
    """A batch with subsets, noise and shuffled frames: as many tokens as drawn, the rest masked and zero."""
    rng = np.random.default_rng(1)
    drawn = _draw(np.arange(40))
    markers = rng.normal(size=(60, 20, 3)).astype(np.float32)
    tokens, mask = make_tokens(
        markers, 2 + np.arange(40), drawn.index, origin=np.zeros((40, 3)), heading=np.zeros(40),
        is_mirrored=drawn.is_mirrored, order=drawn.order,
        disturbance=drawn.disturbance(rng.normal(size=5000).astype(np.float32)),
    )  # fmt: skip
    assert (mask == (drawn.index >= 0)).all() and (tokens[~mask] == 0).all() and np.isfinite(tokens).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"config": replace(CONFIG, most_markers=21)}, "expected 0 <= least <= most <= 20, got 3 and 21"),
        ({"window": np.array([-1])}, "window: expected values in"),
        ({"window": np.array([0.5])}, "window: expected an integer dtype, got float64"),
        ({"seed": -1}, "seed, epoch, half_width: expected 0 or more"),
        ({"config": replace(CONFIG, half_width=500)}, "table_length: expected at least 27081, got 5000"),
    ],
)
def test_wrong_draws_are_named(changed, message):
    """Before anything is drawn."""
    with pytest.raises(ValueError, match=message):
        _draw(**({"window": np.arange(3)} | changed))


def test_wrong_arguments_raise_with_what_was_expected():
    """Boundaries are checked once, before compiled code reads memory."""
    arguments = make(next(case for case in CASES if case.name == "prime"))
    with pytest.raises(ValueError, match="frame: expected 2 frames before and 3 after each, within 31, got 28 to 28"):
        make_tokens(**(arguments | {"frame": np.full(11, 28)}))
    with pytest.raises(ValueError, match="index: expected signed integers below 7"):
        make_tokens(**(arguments | {"index": np.full((11, 5), 7)}))
    nobody = {"marker_pos": np.zeros((31, 0, 3)), "index": np.full((11, 5), -1)}
    for changed in (arguments | nobody, _tensors(arguments | nobody)):
        with pytest.raises(ValueError, match="marker_pos: expected at least one marker, got none, and 5 tokens"):
            make_tokens(**changed)
    with pytest.raises(ValueError, match="origin: expected shape"):
        make_tokens(**(arguments | {"origin": np.zeros((11, 2))}))
    zeros = np.zeros(11)
    short = Disturbance(table=np.zeros(100), start=zeros.astype(int), offset_size=zeros, jitter_size=zeros)
    with pytest.raises(ValueError, match=r"disturbance.start: expected values in"):
        make_tokens(**(arguments | {"disturbance": short}))
    with pytest.raises(ValueError, match="half_width: expected 0 or more"):
        make_tokens(**(arguments | {"half_width": -1}))
    with pytest.raises(ValueError, match=r"order: expected values in \[0, 6\), got 0 to 6"):
        make_tokens(**(arguments | {"order": np.arange(66).reshape(11, 6) % 7}))
    with pytest.raises(ValueError, match=r"order: expected shape \(B, 6\), got \(11, 5\)"):
        make_tokens(**(arguments | {"order": np.zeros((11, 5), int)}))
    with pytest.raises(ValueError, match="is_mirrored: expected dtype bool, got int64"):
        make_tokens(**(arguments | {"is_mirrored": np.zeros(11, int)}))
    with pytest.raises(ValueError, match="heading: expected dtype float32 or float64, got int64"):
        make_tokens(**(arguments | {"heading": np.zeros(11, int)}))
    with pytest.raises(ValueError, match="marker_pos: expected a C-contiguous array"):
        make_tokens(**(arguments | {"marker_pos": np.repeat(arguments["marker_pos"], 2, axis=2)[:, :, ::2]}))
    with pytest.raises(ValueError, match="tokens: expected a C-contiguous array"):
        make_tokens(**arguments, out=(np.zeros((11, 5, 72))[..., ::2], np.zeros((11, 5), bool)))
    with pytest.raises(ValueError, match=r"mask: expected shape \(11, 5\) of bool, got \(11, 5\) of int64"):
        make_tokens(**arguments, out=(np.zeros((11, 5, 36)), np.zeros((11, 5), int)))
    with pytest.raises(ValueError, match=r"disturbance.table: expected dtype float64 as marker_pos, got float32"):
        noise = arguments["disturbance"]
        make_tokens(**(arguments | {"disturbance": replace(noise, table=noise.table.astype(np.float32))}))
    tensors = _tensors(arguments)
    with pytest.raises(ValueError, match="frame: expected 2 frames before and 3 after each"):
        make_tokens(**(tensors | {"frame": tensors["frame"] * 0 + 28}))
    with pytest.raises(ValueError, match="index: expected signed integers below 7"):
        make_tokens(**(tensors | {"index": tensors["index"] + 7}))
    with pytest.raises(ValueError, match=r"one of \['triton', 'torch'\], got 'numba'"):
        make_tokens(**tensors, backend="numba")


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

"""Canonical windows: hand-worked features, invariance, determinism, agreement of backends, boundaries."""

import numpy as np
import pytest

from kernels import windows
from kernels.windows import cases

BACKENDS = ("reference", "numba")
# Both compute in float64; velocities of 30 Hz differences of metre-sized positions, rounded once to the dtype.
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_marker_moving_forward_has_the_hand_worked_features(backend: str) -> None:
    """Walking along world y at 1.5 m/s with heading y: forward is +x in the window, 0.1 m in front of the pelvis."""
    time = np.arange(8) / 30
    position = np.zeros((8, 1, 3))
    position[:, 0] = np.stack((np.full(8, 4.0), 2.0 + 0.1 + 1.5 * time, np.full(8, 0.9)), axis=-1)
    origin = np.stack((np.full(8, 4.0), 2.0 + 1.5 * time), axis=-1)
    result = windows.gather_windows(
        position, origin, np.tile([0.0, 1.0], (8, 1)), np.array([3]), half_width=2, backend=backend
    )
    steps = np.arange(-2, 4) / 30
    np.testing.assert_allclose(result.features[0, 0, :, 0], 0.1 + 1.5 * steps, atol=1e-12)
    np.testing.assert_allclose(result.features[0, 0, :, 1], 0.0, atol=1e-12)
    np.testing.assert_allclose(result.features[0, 0, :, 2], 0.9)
    np.testing.assert_allclose(result.features[0, 0, :, 3:], np.tile([1.5, 0, 0], (6, 1)), atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
def test_velocities_are_one_sided_at_the_ends_and_central_inside(backend: str) -> None:
    """Heights 0, 1, 4, 9 mm at 30 Hz."""
    position = np.zeros((4, 1, 3))
    position[:, 0, 2] = np.array([0.0, 1.0, 4.0, 9.0]) * 1e-3
    flat = np.zeros((4, 2))
    result = windows.gather_windows(
        position, flat, np.tile([1.0, 0.0], (4, 1)), np.array([1]), half_width=1, backend=backend
    )
    np.testing.assert_allclose(result.features[0, 0, :, 5], np.array([1.0, 2.0, 4.0, 5.0]) * 0.03, atol=1e-12)


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_compiled_windows_equal_the_reference_on_every_case(case: cases.Case) -> None:
    """Same markers, same mask, same features to rounding; every padded element is written."""
    arguments = cases.make(case)
    if case.windows > 100:  # the reference loops in Python
        arguments |= {key: arguments[key][:40] for key in ("frame", "index")}
    expected = windows.gather_windows(**arguments, seed=3, epoch=2, backend="reference")
    got = windows.gather_windows(**arguments, seed=3, epoch=2, backend="numba")
    np.testing.assert_array_equal(got.mask, expected.mask)
    np.testing.assert_array_equal(got.marker, expected.marker)
    assert got.features.dtype == case.dtype and got.features.shape == expected.features.shape
    np.testing.assert_allclose(got.features, expected.features, rtol=TOLERANCE[case.dtype], atol=TOLERANCE[case.dtype])


@pytest.mark.parametrize("backend", BACKENDS)
def test_turning_and_moving_the_world_leaves_windows_unchanged(backend: str) -> None:
    """A rotation about the vertical and a horizontal shift of everything cancel out."""
    arguments = cases.make(cases.CASES[3])
    cosine, sine = np.cos(2.1), np.sin(2.1)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    moved = dict(arguments)
    moved["marker_pos"] = arguments["marker_pos"].copy()
    moved["marker_pos"][..., :2] = arguments["marker_pos"][..., :2] @ turn.T + [3.0, -2.0]
    moved["origin"] = arguments["origin"] @ turn.T + [3.0, -2.0]
    moved["heading"] = arguments["heading"] @ turn.T
    first = windows.gather_windows(**arguments, backend=backend)
    second = windows.gather_windows(**moved, backend=backend)
    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_allclose(first.features, second.features, atol=1e-11)
    unturned = windows.gather_windows(**moved, backend=backend, canonical_heading=False)
    assert np.abs(unturned.features - first.features).max() > 0.1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_window_depends_on_seed_epoch_and_index_but_not_on_its_batch(backend: str) -> None:
    """Cutting the batch in two, or reversing it, gives the same windows; another epoch gives others."""
    arguments = cases.make(cases.CASES[5])
    whole = windows.gather_windows(**arguments, seed=1, epoch=4, backend=backend)
    tail = arguments | {key: arguments[key][:2:-1] for key in ("frame", "index")}
    part = windows.gather_windows(**tail, seed=1, epoch=4, backend=backend)
    for have, want in zip(part, whole, strict=True):
        np.testing.assert_array_equal(have, want[:2:-1])
    for other in ({"seed": 2, "epoch": 4}, {"seed": 1, "epoch": 5}):
        assert not np.array_equal(windows.gather_windows(**arguments, **other, backend=backend).marker, whole.marker)


def test_markers_are_drawn_without_replacement_uniformly_within_their_bounds() -> None:
    """Over 800 windows: counts stay in [22, 96] and are flat, and each of 150 markers comes equally often."""
    rng = np.random.default_rng(0)
    position = rng.normal(size=(8, 150, 3)).astype(np.float32)
    flat = np.zeros((8, 2), np.float32)
    result = windows.gather_windows(
        position, flat, flat + np.float32([1, 0]), np.full(800, 3), np.arange(800), min_markers=22, max_markers=96
    )
    counts = result.mask.sum(1)
    assert counts.min() == 22 and counts.max() == 96 and abs(counts.mean() - 59) < 4 * 21.65 / np.sqrt(800)
    assert all(len(set(row[:count])) == count for row, count in zip(result.marker.tolist(), counts, strict=True))
    share = np.bincount(result.marker[result.mask], minlength=150) / 800
    expected = 59 / 150
    assert np.abs(share - expected).max() < 5 * np.sqrt(expected * (1 - expected) / 800)


@pytest.mark.parametrize("backend", BACKENDS)
def test_disturbances_have_the_stated_size(backend: str) -> None:
    """Offsets move a marker equally in all frames, jitter moves each frame on its own; both are Gaussian in metres."""
    position, flat = np.zeros((8, 40, 3)), np.zeros((8, 2))
    frame = np.full(30, 3)

    def cut(**disturbance: float) -> np.ndarray:
        result = windows.gather_windows(
            position, flat, np.tile([1.0, 0.0], (8, 1)), frame, np.arange(30), **disturbance, backend=backend
        )
        return result.features[..., :3]

    offset, jitter = cut(offset_std=0.01), cut(jitter_std=0.02)
    assert np.ptp(offset, axis=2).max() == 0
    assert offset[:, :, 0].std() == pytest.approx(0.01, rel=0.06)  # 3600 numbers: 4 standard errors are 5 %
    assert jitter.std() == pytest.approx(0.02, rel=0.03)
    spread = np.corrcoef(jitter[:, :, 0].ravel(), jitter[:, :, 1].ravel())[0, 1]
    assert abs(spread) < 0.08 and abs(jitter.mean()) < 5 * 0.02 / np.sqrt(jitter.size)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_marker_with_a_gap_in_the_window_is_masked_and_zero(backend: str) -> None:
    """One missing sample hides that marker from windows that contain it, and from no other."""
    arguments = cases.make(cases.Case(name="gap", frames=30, markers=4, windows=2, dtype="float64", note=""))
    arguments["marker_pos"][9, 2, 1] = np.nan
    arguments["frame"] = np.array([6, 12])
    result = windows.gather_windows(**arguments, backend=backend)
    np.testing.assert_array_equal(result.mask, [[True, True, False, True], [True] * 4])
    assert result.marker[0, 2] == -1 and not result.features[0, 2].any() and np.isfinite(result.features).all()


def test_window_frames_stay_inside_their_sequence() -> None:
    """Sequences of 3, 8 and 6 frames with windows of 6: none, three, one."""
    frames = windows.list_window_frames(np.array([0, 3, 11, 17]), half_width=2)
    assert frames.tolist() == [5, 6, 7, 13]


def test_memory_mapped_input_gives_the_same_windows(tmp_path) -> None:
    """A read-only map of a .npy file is read in place."""
    arguments = cases.make(cases.CASES[4])
    np.save(tmp_path / "markers.npy", arguments["marker_pos"])
    mapped = np.load(tmp_path / "markers.npy", mmap_mode="r", allow_pickle=False)
    expected = windows.gather_windows(**arguments)
    got = windows.gather_windows(**arguments | {"marker_pos": mapped})
    np.testing.assert_array_equal(got.features, expected.features)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"origin": np.zeros((40, 2))}, r"origin: expected shape \(F, 2\) with F = 41 as in marker_pos, got \(40, 2\)"),
        ({"marker_pos": np.zeros((41, 7, 3), int)}, "marker_pos: expected dtype float32 or float64, got int64"),
        ({"frame": np.array([0])}, r"index: expected shape \(B\) with B = 1"),
        ({"frame": np.array([39]), "index": None}, r"frame: expected 1 frames before and 2 after, .* got 39 to 39"),
        ({"frame": np.array([0]), "index": None}, r"frame: expected 1 frames before and 2 after, .* got 0 to 0"),
        ({"frame": np.array([5.0]), "index": None}, "frame: expected an integer dtype, got float64"),
        ({"max_markers": 8}, "markers: expected 0 <= min <= max <= 7 stored, got min 8 and max 8"),
        ({"min_markers": 5, "max_markers": 4}, "got min 5 and max 4"),
        ({"half_width": -1}, "half_width: expected 0 or more frames, got -1"),
        ({"rate": 0.0}, "rate: expected a positive finite number, got 0.0"),
        ({"jitter_std": -0.1}, "jitter_std: expected 0 or a positive length in metres, got -0.1"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(changed: dict, message: str) -> None:
    """The error says which argument, what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        windows.gather_windows(**cases.make(cases.CASES[3]) | changed)

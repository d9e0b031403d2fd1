"""Registers of several numbers and results past the caches: compiled, and as NumPy where compilation is off."""

import numba
import numpy as np
import pytest

from kernels import _streaming
from kernels._lane_exponential import exponential
from kernels._lane_memory import (
    finish_stores,
    load_3,
    load_4,
    load_8,
    prefetch,
    put,
    put_2,
    put_3,
    store,
    store_past_cache,
    take,
)
from kernels._lanes import (
    as_in,
    both,
    even_lanes,
    high_half,
    high_halves,
    is_finite,
    is_finite_xyz,
    lane,
    low_and_high,
    low_half,
    low_halves,
    multiply_add,
    odd_lanes,
    pack_4,
    spread_4,
    spread_8,
    where_at_least,
    wide,
    with_lane,
    xyz_x,
    yxzw,
    yz_xy,
    yzxw,
    z_xyz,
)


@numba.njit(error_model="numpy")
def _use_all(flat: np.ndarray, out: np.ndarray) -> float:
    two = spread_4(flat.dtype.type(2.0))
    store(out, 0, load_4(flat, 1) * two - load_3(flat, 1))
    store(out, 4, yzxw(load_4(flat, 0)) + yzxw(load_4(flat, 4)))
    store(out, 8, yxzw(load_4(flat, 0)) / two)
    store(out, 12, as_in(out, wide(load_8(flat, 2)) * spread_8(3.0)))
    put_2(out, 20, load_4(flat, 5))
    put_3(out, 22, with_lane(load_4(flat, 5), 1, take(flat, 0)))
    put(out, 25, 7)
    store(out, 26, multiply_add(two, load_4(flat, 1), pack_4(flat[0], flat[1], flat[2], flat[3])))
    missing = pack_4(flat[0], flat[9], flat[4], flat[9])
    store(out, 30, where_at_least(missing, two, load_4(flat, 4), load_4(flat, 0)))
    low, high = load_4(flat, 1), load_4(flat, 5)
    store(out, 34, xyz_x(low, high))
    store(out, 38, yz_xy(low, high))
    store(out, 42, z_xyz(low, high))
    eight, next_eight = load_8(flat, 0), load_8(flat, 1)
    store(out, 49, even_lanes(eight, next_eight) + odd_lanes(eight, next_eight))
    store(out, 57, both(high_half(next_eight), low_half(next_eight)))
    put(out, 46, is_finite(low))
    put(out, 47, is_finite(load_4(flat, 6)))
    prefetch(flat, -1000)
    prefetch(flat, 10**6)
    finish_stores()
    return lane(load_4(flat, 3), 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_register_function_does_what_it_says(dtype: str) -> None:
    """Worked by hand on 0 to 9, the last one NaN; numbers behind the last that is written stay as they are."""
    flat = np.arange(10.0).astype(dtype)
    flat[9] = np.nan
    out = np.full(66, -1.0, dtype)
    assert _use_all(flat[:], out) == 5.0
    expected = [1, 2, 3, 8, 6, 8, 4, 10, 0.5, 0, 1, 1.5]  # of the first three a zero is subtracted in the last lane
    expected += [3.0 * value for value in range(2, 9)] + [np.nan, 5, 6, 5, 0, 7, 7, 2, 5, 8, 11, 0, 1, 6, 3]
    expected += [1, 2, 3, 5, 2, 3, 5, 6, 3, 5, 6, 7, 1, 0, -1]
    expected += [1, 5, 3, 7, 9, 13, 11, 15, 5, 6, 7, 8, 1, 2, 3, 4, -1]
    np.testing.assert_array_equal(out, np.array(expected, dtype))


@numba.njit(error_model="numpy")
def _exponentials(flat: np.ndarray, out: np.ndarray) -> None:
    for i in range(0, len(flat), 8):
        store(out, i, exponential(load_8(flat, i)))


def test_the_exponential_is_right_to_the_last_places_and_zero_where_numbers_end() -> None:
    """Against float64, over all of its range; NaN stays, minus infinity is exactly nothing."""
    given = np.concatenate([np.linspace(-86.99, 88.0, 4088), [0.0, -87.1, -1e30, -np.inf, np.nan, -0.0, 1e-30, -87.0]])
    given = given.astype(np.float32)
    found = np.empty_like(given)
    _exponentials(given, found)
    exact = np.exp(given.astype(np.float64))
    special = slice(4088, None)
    np.testing.assert_array_equal(found[special][[0, 1, 2, 3, 5, 6]], [1, 0, 0, 0, 1, 1])
    assert np.isnan(found[4092])
    rest = np.r_[:4088, 4095]
    assert np.abs(found[rest] / exact[rest] - 1.0).max() < 1.5 * np.finfo(np.float32).eps


@numba.njit(error_model="numpy")
def _use_eights(flat: np.ndarray, out: np.ndarray) -> None:
    low, high = load_8(flat, 0), load_8(flat, 8)
    store(out, 0, low_halves(low, high))
    store(out, 8, low_and_high(low, high))
    store(out, 16, high_halves(low, high))
    store(out, 24, yxzw(low))
    store(out, 32, yzxw(high))
    for place in range(16):
        holed = with_lane(both(load_4(flat, 0), load_4(flat, 4)), place % 8, flat[15 + place // 8])
        put(out, 40 + place, is_finite_xyz(holed))
    put(out, 56, is_finite_xyz(load_4(flat, 13)))
    put(out, 57, is_finite_xyz(load_4(flat, 12)))
    store(out, 58, load_3(flat, 14))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_halves_of_eights_change_places_and_the_spare_lane_of_a_point_may_hold_anything(dtype: str) -> None:
    """Worked by hand on 0 to 14, infinity and NaN, which is the last number of its memory."""
    flat = np.arange(17.0).astype(dtype)
    flat[15:] = np.inf, np.nan
    out = np.full(63, -1.0, dtype)
    _use_eights(flat, out)
    expected = [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 12, 13, 14, np.inf, 4, 5, 6, 7, 12, 13, 14, np.inf]
    expected += [1, 0, 2, 3, 5, 4, 6, 7, 9, 10, 8, 11, 13, 14, 12, np.inf]
    expected += 4 * [0, 0, 0, 1] + [0, 1, 14, np.inf, np.nan, 0, -1]
    np.testing.assert_array_equal(out, np.array(expected, dtype))


@numba.njit(error_model="numpy")
def _store_eight_past_cache(flat: np.ndarray, at: int, out: np.ndarray) -> None:
    store_past_cache(out, at, load_8(flat, 0))
    finish_stores()


@pytest.mark.parametrize(("dtype", "at"), [("float32", 0), ("float32", 8), ("float64", 0), ("float64", 2)])
def test_eight_numbers_are_written_past_the_caches(dtype: str, at: int) -> None:
    """Float64 at any multiple of 16 bytes; nothing around is touched."""
    room = np.zeros(40, dtype)
    skew = -room.ctypes.data % 32 // room.itemsize
    _store_eight_past_cache(np.arange(1.0, 9.0).astype(dtype), skew + at, room)
    expected = np.zeros(40, dtype)
    expected[skew + at : skew + at + 8] = np.arange(1.0, 9.0)
    np.testing.assert_array_equal(room, expected)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="needs compilation")
def test_an_array_with_gaps_is_refused_when_compiling() -> None:
    """Positions count numbers in memory, so a strided view must never come through."""
    with pytest.raises(AssertionError, match="is not flat"):
        _use_all(np.zeros(20)[::2], np.zeros(36))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("past_cache", [False, True])
def test_results_past_the_caches_go_where_they_belong_and_nowhere_else(dtype: str, past_cache: bool) -> None:
    """Every beginning within 16 bytes and every rest of a register, with the numbers around untouched."""
    source = np.arange(1.0, 40.0).astype(dtype)
    for at in range(6):
        for count in (0, 1, 2, 3, 4, 5, 7, 8, 15, 31):
            target = np.zeros(48, dtype)
            _streaming.copy_out(target, at, source, count, past_cache)
            expected = np.zeros(48, dtype)
            expected[at : at + count] = source[:count]
            np.testing.assert_array_equal(target, expected)


def test_only_large_results_at_whole_addresses_go_past_the_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits a cache is left there; an address between two numbers would never be a multiple of 16."""
    large = np.zeros(_streaming._CACHED_BYTES // 4 + 1, np.float32)
    assert _streaming.is_past_cache(large) and not _streaming.is_past_cache(large[:-1])
    assert _streaming.is_past_cache(large[:-1], np.zeros(1))
    monkeypatch.setattr(_streaming, "_CACHED_BYTES", 0)
    odd = np.zeros(41, np.uint8)[1:].view(np.float32)
    assert not _streaming.is_past_cache(odd) and _streaming.is_past_cache(np.zeros(1))

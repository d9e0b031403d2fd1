"""What a walk is measured by against the expert, as plain functions of arrays.

Everything is by cycle, from right heel strike to right heel strike of the measured walk, and the simulated walk is cut at the
same times: a step that comes early or late counts as an error. Both legs of a cycle count together, so every cycle gives one
number and arms are compared cycle by cycle.

Axis legend: T frames, N = T - 1 control steps (samples of means, at t + 1/2), C cycles, P = 101 points of a cycle, L values that
are pooled (the legs).
"""

from __future__ import annotations

import itertools

import numpy as np

from sim.gait.cycles import normalise_cycles

FEWEST_STANCE = 3
"""Samples below which a stance has no correlation."""


def cycle_rmse(mine: np.ndarray, reference: np.ndarray, strikes: np.ndarray) -> np.ndarray:
    """Root mean square error of every cycle on 0-100 %, √mean_{p,l}(mine − reference)², shape (C,).

    Args:
        mine: Samples at the frames, shape (T, L).
        reference: The same of the expert.
        strikes: Heel strikes as fractional frames, increasing, inside [0, T - 1].

    Returns:
        NaN for a cycle in which a value is unknown.
    """
    return np.sqrt((normalise_cycles(mine - reference, strikes) ** 2).mean(axis=(1, 2)))


def profile_rmse(mine: np.ndarray, reference: np.ndarray, strikes: np.ndarray) -> np.ndarray:
    """Root mean square error of every cycle against the expert's mean cycle (KAIL, figure 5), else as `cycle_rmse`."""
    mean = np.nanmean(normalise_cycles(reference, strikes), axis=0)
    return np.sqrt(((normalise_cycles(mine, strikes) - mean) ** 2).mean(axis=(1, 2)))


def cycle_correlation(mine: np.ndarray, reference: np.ndarray, strikes: np.ndarray) -> np.ndarray:
    """Pearson's r of every cycle over its points of all legs together, shape (C,); arguments as `cycle_rmse`.

    NaN where a value is unknown or one of the two is constant.
    """
    first = normalise_cycles(mine, strikes)
    second = normalise_cycles(reference, strikes)
    return np.array([correlation(a.ravel(), b.ravel()) for a, b in zip(first, second)])


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r of two samples (n,); NaN where one is constant or unknown."""
    first, second = first - first.mean(), second - second.mean()
    size = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / size) if size > 0 else np.nan


def complex_correlation(mine: np.ndarray, reference: np.ndarray) -> complex:
    """Complex Pearson correlation ρ of two complex samples (n,), means removed.

    ρ = Σ (z − mean z) conj(w − mean w) / √(Σ |z − mean z|² Σ |w − mean w|²): |ρ| says how alike the shapes are, arg ρ by which
    angle the first is turned against the second. NaN where one is constant or unknown.

    Source: KAIL, section V.C (its figure 6).
    """
    first, second = mine - mine.mean(), reference - reference.mean()
    size = np.sqrt((np.abs(first) ** 2).sum() * (np.abs(second) ** 2).sum())
    return complex((first * second.conj()).sum() / size) if size > 0 else complex(np.nan, np.nan)


def stances(loaded: np.ndarray, strikes: np.ndarray) -> list[np.ndarray]:
    """Samples of the stance that begins with every heel strike but the last.

    Args:
        loaded: Whether the expert's foot carries load in a step, shape (N,); step t is from frame t to t + 1.
        strikes: Heel strikes of that foot as fractional frames.

    Returns:
        A list of index arrays: the loaded steps of each of `steps_of_cycles`.
    """
    return [steps[loaded[steps]] for steps in steps_of_cycles(len(loaded), strikes)]


def steps_of_cycles(count: int, strikes: np.ndarray) -> list[np.ndarray]:
    """Steps of every cycle, of N = `count` in all: step t, from frame t to t + 1, belongs to the cycle that begins in it.

    So the first load of a foot is never taken for the end of its last stance.
    """
    ends = np.arange(1, count + 1)
    return [np.flatnonzero((ends > low) & (ends <= high)) for low, high in itertools.pairwise(strikes)]


def stance_correlations(
    mine: np.ndarray, reference: np.ndarray, loaded: np.ndarray, strikes: np.ndarray
) -> list[complex]:
    """Complex Pearson correlation of z = F_ap + i F_v over each stance of one foot.

    Args:
        mine: Fore-aft and vertical force of one foot, shape (N, 2).
        reference: The same of the expert; NaN where not measured.
        loaded: Stance of the expert, shape (N,).
        strikes: Heel strikes of that foot.
    """
    first, second = (values[:, 0] + 1j * values[:, 1] for values in (mine, reference))
    nothing = complex(np.nan, np.nan)
    return [
        complex_correlation(first[at], second[at]) if len(at) >= FEWEST_STANCE else nothing
        for at in stances(loaded, strikes)
    ]


def by_cycle(values: list[np.ndarray], starts: list[np.ndarray], strikes: np.ndarray) -> np.ndarray:
    """Mean of the values of both feet whose own cycle begins in each right cycle, shape (C,); NaN where there is none.

    Args:
        values: Of each foot, a value a cycle of its own.
        starts: Of each foot, the heel strikes that begin those cycles, as long as its values.
        strikes: Right heel strikes.
    """
    all_values, all_starts = np.concatenate(values), np.concatenate(starts)
    known = np.isfinite(all_values)
    out = np.full(max(len(strikes) - 1, 0), np.nan)
    for cycle, (low, high) in enumerate(itertools.pairwise(strikes)):
        inside = known & (all_starts >= low) & (all_starts < high)
        if inside.any():
            out[cycle] = all_values[inside].mean()
    return out


def stance_rmse(difference: np.ndarray, strikes: np.ndarray) -> np.ndarray:
    """Root mean square of the known differences (N, F) in every cycle, shape (C,); NaN where none is known.

    Args:
        difference: Simulated minus measured at steps, NaN outside stance.
        strikes: Right heel strikes as fractional frames.
    """
    out = np.full(max(len(strikes) - 1, 0), np.nan)
    for cycle, steps in enumerate(steps_of_cycles(len(difference), strikes)):
        inside = difference[steps]
        known = inside[np.isfinite(inside)]
        if len(known):
            out[cycle] = np.sqrt((known**2).mean())
    return out


def frame_means(substeps: np.ndarray) -> np.ndarray:
    """Means over half a control step before and after every frame, of values of the substeps (N, S, ...), shape (N + 1, ...).

    A substep that the window's edge cuts counts by its part inside; the first and last frame have one half only.
    """
    count, length = substeps.shape[:2]
    weight = np.clip(0.5 * length - np.arange(length), 0.0, 1.0)
    early = np.einsum("s,ns...->n...", weight, substeps)
    late = np.einsum("s,ns...->n...", weight[::-1], substeps)
    out = np.empty((count + 1, *substeps.shape[2:]))
    out[1:-1] = (late[:-1] + early[1:]) / length
    out[0], out[-1] = early[0] / (0.5 * length), late[-1] / (0.5 * length)
    return out


def paired_p(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p of the paired t-test between two measures of the same cycles, shape (C,).

    Cycles that lack one of the two are left out; NaN for fewer than two; 1 where all differences are 0.
    """
    from scipy.stats import ttest_rel

    count = min(len(first), len(second))
    first, second = first[:count], second[:count]
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 2:
        return np.nan
    if (first[known] == second[known]).all():
        return 1.0
    result = ttest_rel(first[known], second[known])
    return float(result.pvalue)


def rms(values: np.ndarray, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Root mean square along axes."""
    return np.sqrt(np.mean(np.square(values), axis=axis))

"""The solver over all windows of a trial: forces, contacts, centres of pressure and impulses frame by frame.

Every 30 Hz frame t has its own window (frames t − 2 to t + 3), whose answer covers t and t + 1, so each frame is answered
twice and the two answers are averaged. At the ends of the trial the tracks are continued by their point reflection.

Axis legend: T frames at 30 Hz, M markers, B windows, U = 2 times, N bodies, J joints, E = 2 feet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dataset.schema import FRAME_RATE
from dataset.skeleton import NUM_BODIES, NUM_JOINTS
from dataset.windows import HALF_WIDTH
from kernels.windows import make_tokens
from model.imdys import ImDyS

LEAST_MARKERS = 10
"""Fewer complete markers than this in a window give no answer; the solver was trained on 22 to 96."""
_BATCH = 2400


@dataclass(frozen=True, kw_only=True)
class WindowForces:
    """What the solver says about a trial, per kilogram, in the world frame."""

    grf_TN3: np.ndarray
    """Force of the ground on each body [N/kg], not gated by contact, shape (T, N, 3); NaN without an answer."""
    contact_TN: np.ndarray
    """Probability that the ground touches each body, shape (T, N)."""
    cop_TE2: np.ndarray
    """Centre of pressure of each foot [m], shape (T, E, 2)."""
    impulse_TJ3: np.ndarray
    """Impulse of each joint over the transition from each frame to the next [N·m·s/kg], child frame, shape (T, J, 3)."""
    num_markers_T: np.ndarray
    """Markers seen in all frames of the window of each frame, shape (T,)."""

    def gated(self, probability: float = 0.5) -> np.ndarray:
        """Force on each body, zero where contact is less likely than `probability`, shape (T, N, 3)."""
        with np.errstate(invalid="ignore"):
            return np.where((self.contact_TN > probability)[..., None] | np.isnan(self.grf_TN3), self.grf_TN3, 0.0)


def continue_tracks(tracks: np.ndarray, before: int, after: int) -> np.ndarray:
    """Tracks (T, ...) with frames added at both ends: x(−k) = 2 x(0) − x(k), which keeps velocity and no acceleration."""
    first = 2.0 * tracks[:1] - tracks[before:0:-1]
    last = 2.0 * tracks[-1:] - tracks[-2 : -after - 2 : -1]
    return np.concatenate([first, tracks, last])


def edge_frames(frames: int) -> np.ndarray:
    """Frames whose answers lean on continued tracks, shape (T,)."""
    number = np.arange(frames)
    return (number < HALF_WIDTH) | (number >= frames - HALF_WIDTH)


def solve_windows(
    model: ImDyS,
    markers_TM3: np.ndarray,
    pelvis_T3: np.ndarray,
    heading_T: np.ndarray,
    *,
    subset: np.ndarray | None = None,
) -> WindowForces:
    """Run the solver on every window of a trial.

    Args:
        model: Trained solver.
        markers_TM3: Markers at 30 Hz [m], world with the floor at z = 0, shape (T, M, 3), T >= 6; NaN in gaps. A marker
            counts in a window if it is seen in all its frames.
        pelvis_T3: Pelvis joint [m], shape (T, 3); a window whose frame has none gives no answer.
        heading_T: Heading of the pelvis [rad], shape (T,).
        subset: Indices of the markers that are shown; all if None.

    Returns:
        Forces; NaN in frames with fewer than `LEAST_MARKERS` complete markers.
    """
    frames = len(markers_TM3)
    chosen = np.arange(markers_TM3.shape[1]) if subset is None else subset
    tracks = np.ascontiguousarray(continue_tracks(markers_TM3[:, chosen], HALF_WIDTH, HALF_WIDTH + 1))
    seen = np.array(np.isfinite(tracks).all(axis=2))
    width = 2 * HALF_WIDTH + 2
    count = np.stack([seen[k : k + frames] for k in range(width)]).all(axis=0).sum(axis=1)
    usable = np.flatnonzero((count >= LEAST_MARKERS) & np.isfinite(pelvis_T3).all(axis=1) & np.isfinite(heading_T))
    impulse = np.full((frames, NUM_JOINTS, 3), np.nan)
    sums = {
        "grf": np.zeros((frames, NUM_BODIES, 3)),
        "contact": np.zeros((frames, NUM_BODIES)),
        "cop": np.zeros((frames, 2, 2)),
    }
    answers = np.zeros(frames)
    index = np.tile(np.arange(len(chosen), dtype=np.int32), (len(usable), 1))
    for start in range(0, len(usable), _BATCH):
        centre = usable[start : start + _BATCH]
        origin = np.concatenate([pelvis_T3[centre, :2], np.zeros((len(centre), 1))], axis=1)
        heading = heading_T[centre]
        tokens, mask = make_tokens(
            tracks, centre + HALF_WIDTH, index[start : start + _BATCH], origin=origin, heading=heading,
            half_width=HALF_WIDTH, rate=FRAME_RATE,
        )  # fmt: skip
        grf, contact, cop, impulse[centre] = _answer(model, tokens, mask)
        turn = _turns(heading)
        grf = np.einsum("bij,bunj->buni", turn, grf)
        cop = np.einsum("bij,buej->buei", turn[:, :2, :2], cop) + origin[:, None, None, :2]
        for u in range(2):
            inside = centre + u < frames
            for name, values in (("grf", grf), ("contact", contact), ("cop", cop)):
                sums[name][centre[inside] + u] += values[inside, u]
            answers[centre[inside] + u] += 1
    scale = np.where(answers > 0, answers, np.nan)
    return WindowForces(
        grf_TN3=sums["grf"] / scale[:, None, None], contact_TN=sums["contact"] / scale[:, None],
        cop_TE2=sums["cop"] / scale[:, None, None], impulse_TJ3=impulse,
        num_markers_T=count,
    )  # fmt: skip


@torch.no_grad()
def _answer(
    model: ImDyS, tokens: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Force, contact probability, foot CoP (heading frame) and impulse of a batch of windows, as float64 arrays."""
    out = model(((torch.from_numpy(tokens.astype(np.float32)), torch.from_numpy(mask)),))
    parts = out.grf, out.contact_logit.sigmoid(), out.foot_cop, out.impulse
    grf, contact, cop, impulse = (part.double().numpy() for part in parts)
    return grf, contact, cop, impulse


def _turns(heading: np.ndarray) -> np.ndarray:
    """Rotations from the heading frame to the world, shape (B, 3, 3)."""
    turn = np.zeros((len(heading), 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(heading)
    turn[:, 1, 0] = np.sin(heading)
    turn[:, 0, 1] = -turn[:, 1, 0]
    turn[:, 2, 2] = 1.0
    return turn

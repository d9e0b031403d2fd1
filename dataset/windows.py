"""Which frames have a window: a window around frame t shows the markers of frames t − W to t + W + 1.

Its labels are the impulse of the transition t -> t + 1 and the ground reaction forces at t and t + 1 (ImDy section 4.1).
`kernels.windows` cuts them from flat frames.
"""

from __future__ import annotations

import numpy as np

from dataset.schema import Dynamics

HALF_WIDTH = 2
"""W, frames of a window before t, and after t + 1 (ImDy: window size 2)."""
WINDOW = 2 * HALF_WIDTH + 2
"""Frames a window."""


def window_frames(item: Dynamics) -> np.ndarray:
    """Frames t of one sequence with a whole window and whole labels, ascending, int64; a short sequence has none.

    Forces averaged over one side of a frame only are another quantity than those that are to be learned: no window has
    its labels there.
    """
    frames = np.arange(HALF_WIDTH, item.num_frames - HALF_WIDTH - 1, dtype=np.int64)
    return frames[~(item.is_edge[frames] | item.is_edge[frames + 1])]

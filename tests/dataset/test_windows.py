"""Which frames have a window."""

import dataclasses

import numpy as np

from dataset.windows import HALF_WIDTH, WINDOW, window_frames


def test_every_frame_with_a_whole_window_and_whole_labels_is_there_once(build_dynamics) -> None:
    """All but two at the start, three at the end, and those whose labels at t or t + 1 are one-sided averages."""
    item = build_dynamics("made-up", frames=17)
    assert (HALF_WIDTH, WINDOW) == (2, 6)
    assert window_frames(dataclasses.replace(item, is_edge=np.zeros(17, bool))).tolist() == list(range(2, 14))
    edge = np.zeros(17, bool)
    edge[5] = True
    found = window_frames(dataclasses.replace(item, is_edge=edge))
    assert found.tolist() == [2, 3, *range(6, 14)] and found.dtype == np.int64


def test_a_sequence_shorter_than_a_window_has_none(build_dynamics) -> None:
    """Five frames are one too few, six make one window."""
    for frames, expected in ((2, []), (5, []), (6, [2])):
        item = build_dynamics("made-up", frames=frames)
        item = dataclasses.replace(item, is_edge=np.zeros(frames, bool))
        assert window_frames(item).tolist() == expected

"""The recording benchmark compares the same physics: sensors change no state, and nothing is cut from the record."""

import numpy as np

from bench.bench_record import RecordBench, ShakenMinute
from sim.record import RecordConfig


def test_bare_and_recorded_physics_are_the_same_motion_and_all_of_it_is_recorded():
    work = ShakenMinute(RecordBench(seconds=1.5), threads=1)
    trace = work.replay()
    assert np.array_equal(work.bare()[..., 1:], trace.state[:, 1:, 1:])
    [dynamics] = work.replay_and_record(RecordConfig())
    assert dynamics.num_frames == 45 - 9 + 1
    assert work.closure(trace).max() < 1e-8

"""The recording benchmark compares the same physics: recording changes no state, and nothing is cut from the record."""

import numpy as np
import pytest

from bench.bench_record import RecordBench, ShakenPerson
from sim.record import RecordConfig

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("threads", [1, 2])
def test_bare_and_recorded_physics_are_the_same_motion_and_all_of_it_is_recorded(threads):
    work = ShakenPerson(RecordBench(seconds=1.5), threads=threads)
    trace = work.replay()
    assert np.array_equal(work.bare()[..., 1:], trace.state[:, 1:, 1:])
    assert [dynamics.num_frames for dynamics in work.replay_and_record(RecordConfig())] == [45 - 9 + 1] * threads
    closure = work.closure(trace)
    assert closure.shape == (threads, work.substeps)
    assert closure.max() < 1e-8

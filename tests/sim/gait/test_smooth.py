import mujoco
import numpy as np
import pytest

from sim.gait.smooth import smooth_motion


@pytest.fixture
def motion():
    time = np.arange(400) / 100.0
    qpos = np.zeros((400, 24))
    qpos[:, 0] = 1.2 * time
    turn = np.stack([0.3 * np.sin(3 * time), 0.2 * np.cos(2 * time), 0.5 * np.sin(time)], axis=1)
    from dataset.rotation import from_rotation_vector

    qpos[:, 3:7] = from_rotation_vector(turn)
    qpos[:, 7:] = 0.4 * np.sin(np.outer(time, np.linspace(1.0, 6.0, 17)))
    return time, qpos


def test_velocities_and_accelerations_are_the_derivatives_of_the_poses(gait, motion):
    smooth = smooth_motion(*motion, 6.0)
    at, h = np.array([1.013, 2.5, 3.1]), 1e-4
    _, velocity, acceleration = smooth.at(at)
    (before, slower, _), (after, faster, _) = smooth.at(at - h), smooth.at(at + h)
    for k in range(3):
        difference = np.zeros(23)
        mujoco.mj_differentiatePos(gait.model, difference, 2 * h, before[k], after[k])
        np.testing.assert_allclose(velocity[k], difference, atol=1e-5)
    np.testing.assert_allclose(acceleration, (faster - slower) / (2 * h), atol=1e-4)


def test_slow_motion_passes_the_filter_unchanged(motion):
    time, qpos = motion
    kept = smooth_motion(time, qpos, 6.0).at(time)[0]
    # 1 Hz of a sixth-hertz-squared fourth-order filter loses 0.04 %; the ends lean on nothing
    np.testing.assert_allclose(kept[60:-60], qpos[60:-60], atol=2e-3)


def test_uneven_times_are_refused(motion):
    time, qpos = motion
    with pytest.raises(ValueError, match="evenly spaced"):
        smooth_motion(np.delete(time, 50), np.delete(qpos, 50, axis=0), 6.0)  # a dropped frame
    smooth_motion(time.round(2) + 1e-4 * (np.arange(400) % 2), qpos, 6.0)  # a rounded clock

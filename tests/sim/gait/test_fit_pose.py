import numpy as np
import pytest

from sim.gait.fit_pose import fit_poses, rigid_fit, segment_rms
from sim.gait.kinematics import place


@pytest.fixture
def points():
    """Four points on each segment: segments (32,), places (32, 3)."""
    segment = np.repeat(np.arange(8), 4)
    return segment, 0.1 * np.random.default_rng(3).normal(size=(32, 3))


def test_poses_are_found_again_from_their_points(body, random_poses, points):
    segment, local = points
    qpos = random_poses(20)
    world = place(body, qpos).points(segment, local)
    fit = fit_poses(body, segment, local, world)
    assert fit.rms < 1e-6
    found = place(body, fit.qpos)
    np.testing.assert_allclose(found.origin, place(body, qpos).origin, atol=1e-5)
    np.testing.assert_allclose(fit.qpos[:, 7:], qpos[:, 7:], atol=1e-4)


def test_missing_points_do_not_count(body, random_poses, points):
    segment, local = points
    qpos = random_poses(5)
    world = place(body, qpos).points(segment, local)
    world[:, 20] = np.nan
    world[2, 5] = np.nan
    fit = fit_poses(body, segment, local, world)
    assert fit.rms < 1e-6
    assert np.isnan(fit.error[:, 20]).all()
    assert np.isfinite(segment_rms(fit, segment)).all()


def test_noise_shows_as_residual(body, random_poses, points):
    segment, local = points
    world = place(body, random_poses(50)).points(segment, local)
    noisy = world + 0.002 * np.random.default_rng(4).normal(size=world.shape)
    fit = fit_poses(body, segment, local, noisy)
    # 96 measured numbers a frame, 23 of them absorbed by the pose: sqrt(3 · (96 − 23) / 96) · 2 mm
    assert fit.rms == pytest.approx(0.002 * np.sqrt(3.0 * (96 - 23) / 96), rel=0.05)


def test_a_rigid_fit_turns_and_never_mirrors():
    local = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    rot, origin = rigid_fit(local, local @ turn.T + (1.0, 2.0, 3.0))
    np.testing.assert_allclose(rot, turn, atol=1e-12)
    np.testing.assert_allclose(origin, (1.0, 2.0, 3.0), atol=1e-12)
    assert np.linalg.det(rigid_fit(local, local * (1.0, 1.0, -1.0))[0]) == pytest.approx(1.0)


def test_a_frame_without_points_is_refused(body, random_poses, points):
    segment, local = points
    world = place(body, random_poses(5)).points(segment, local)
    world[3] = np.nan
    with pytest.raises(ValueError, match="none in 1, the first 3"):
        fit_poses(body, segment, local, world)

import mujoco
import numpy as np
import pytest

from sim.gait.kinematics import place, point_jacobian, step_along
from sim.gait.segments import SEGMENTS


def test_segments_and_their_derivatives_are_those_of_the_compiled_model(gait, random_poses):
    qpos = random_poses(6)
    placement = place(gait.body, qpos)
    segments, local = np.arange(8), 0.1 * np.random.default_rng(1).normal(size=(8, 3))
    points = placement.points(segments, local)
    jacobian = point_jacobian(placement, points, segments)
    data = mujoco.MjData(gait.model)
    for frame in range(len(qpos)):
        data.qpos[:] = qpos[frame]
        mujoco.mj_kinematics(gait.model, data)
        mujoco.mj_comPos(gait.model, data)
        for segment, name in enumerate(SEGMENTS):
            body = gait.model.body(name).id
            np.testing.assert_allclose(data.xpos[body], placement.origin[frame, segment], atol=1e-12)
            np.testing.assert_allclose(data.xmat[body].reshape(3, 3), placement.rot[frame, segment], atol=1e-12)
            theirs = np.zeros((3, 23))
            mujoco.mj_jac(gait.model, data, theirs, None, points[frame, segment], body)
            np.testing.assert_allclose(theirs, jacobian[frame, segment], atol=1e-12)


def test_a_step_along_a_velocity_is_the_engines(gait, random_poses):
    qpos = random_poses(3)
    velocity = np.random.default_rng(2).normal(size=(3, 23))
    moved = step_along(qpos, velocity)
    for frame in range(3):
        theirs = qpos[frame].copy()
        mujoco.mj_integratePos(gait.model, theirs, velocity[frame], 1.0)
        np.testing.assert_allclose(moved[frame], theirs, atol=1e-12)


def test_positive_angles_are_the_anatomical_ones(body):
    from sim.gait.segments import COORDINATES

    def toe_of(name, angle=0.3):
        qpos = np.zeros((1, 24))
        qpos[0, 3] = 1.0
        neutral = place(body, qpos).points(np.array([7]), np.array([[0.2, 0.0, -0.05]]))[0, 0]
        qpos[0, 7 + COORDINATES.index(name)] = angle
        return place(body, qpos).points(np.array([7]), np.array([[0.2, 0.0, -0.05]]))[0, 0] - neutral

    assert toe_of("hip_flexion_r")[0] > 0.1  # leg forward
    assert toe_of("hip_adduction_r")[1] > 0.1  # right leg to the left
    assert toe_of("hip_rotation_r")[1] > 0.01  # toes inwards
    assert toe_of("knee_angle_r")[0] < -0.1  # shank backward
    assert toe_of("ankle_angle_r")[2] > 0.01  # toes up
    assert toe_of("ankle_rotation_r")[1] > 0.01  # toes inwards


def test_poses_of_the_wrong_shape_are_refused(body):
    with pytest.raises(ValueError, match=r"expected shape \(T, 24\), got \(3, 23\)"):
        place(body, np.zeros((3, 23)))

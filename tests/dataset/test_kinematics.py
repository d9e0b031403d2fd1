"""Forward kinematics of the body tree."""

import numpy as np
import pytest

from dataset import rotation
from dataset.kinematics import forward_kinematics, global_from_local, local_from_global
from dataset.skeleton import NUM_BODIES, PARENTS


def random_pose(frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    offset = generator.normal(size=(NUM_BODIES, 3))
    quat = rotation.normalize(generator.normal(size=(frames, NUM_BODIES, 4)))
    return offset, generator.normal(size=(frames, 3)), quat


def test_every_joint_sits_at_its_offset_in_the_parents_frame() -> None:
    offset, root_pos, quat = random_pose(5)
    body_pos, body_quat = forward_kinematics(offset, root_pos, quat)
    np.testing.assert_array_equal(body_pos[:, 0], root_pos)
    for body in range(1, NUM_BODIES):
        parent = PARENTS[body]
        seen = rotation.rotate(rotation.conjugate(body_quat[:, parent]), body_pos[:, body] - body_pos[:, parent])
        np.testing.assert_allclose(seen, np.broadcast_to(offset[body], seen.shape), atol=1e-13)


def test_global_and_local_rotations_are_inverse() -> None:
    _, _, quat = random_pose(4)
    np.testing.assert_allclose(local_from_global(global_from_local(quat)), quat, atol=1e-13)


def test_bits_are_those_of_the_one_rotation_algebra() -> None:
    """Motions are hashed: what compiled loops and whole arrays make of a pose must not differ in the last bit."""
    offset, root_pos, quat = random_pose(7)
    body_pos, body_quat = forward_kinematics(offset, root_pos, quat[::-1])
    position, outer = [root_pos], [quat[::-1, 0]]
    for body in range(1, NUM_BODIES):
        parent = PARENTS[body]
        position.append(position[parent] + rotation.rotate(outer[parent], offset[body]))
        outer.append(rotation.multiply(outer[parent], quat[::-1, body]))
    np.testing.assert_array_equal(body_quat, np.stack(outer, axis=1))
    np.testing.assert_array_equal(body_pos, np.stack(position, axis=1))


def test_other_shapes_are_refused() -> None:
    offset, root_pos, quat = random_pose(2)
    with pytest.raises(ValueError, match=r"quat: expected shape \(T, 24, 4\), got \(2, 23, 4\)"):
        global_from_local(quat[:, 1:])
    with pytest.raises(ValueError, match=r"root_pos \(2, 3\) .* got \(24, 3\) and \(1, 3\)"):
        forward_kinematics(offset, root_pos[:1], quat)

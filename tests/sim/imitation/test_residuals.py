"""Cost terms: zero on the reference, equal for mirrored states, and each sees what it is for."""

import mujoco
import numpy as np

from dataset.skeleton import MIRROR_AXIAL, MIRROR_BODY
from sim.imitation.tracker.clearance import penetration_depths
from sim.imitation.tracker.limits import clearance_capsules, joint_ranges
from sim.imitation.tracker.reference import make_reference
from sim.imitation.tracker.search import Tracker
from sim.imitation.tracker.servo_targets import fill_controls
from sim.imitation.tracker.whole_body import whole_body_state


def test_whole_body_state_agrees_with_the_simulator(standing, sway):
    tracker = Tracker(standing, make_reference(standing, sway))
    reference, model = tracker.reference, standing.model
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = reference.qpos[100], reference.qvel[100] + 0.3
    mujoco.mj_forward(model, data)
    mujoco.mj_subtreeVel(model, data)
    pos, rot, summary = np.zeros((24, 3)), np.zeros((24, 4)), np.zeros(9)
    whole_body_state(data.qpos, data.qvel, *tracker.arrays, pos, rot, summary)
    np.testing.assert_allclose(pos, data.xpos[standing.body_id], atol=1e-9)
    np.testing.assert_allclose(summary[:3], data.subtree_com[1], atol=1e-9)
    np.testing.assert_allclose(summary[3:6], data.subtree_linvel[1], atol=1e-9)
    np.testing.assert_allclose(summary[6:], data.subtree_angmom[1], atol=1e-8)


def test_joint_ranges_of_the_right_side_mirror_the_left():
    low, high = joint_ranges()
    mirror = np.array(MIRROR_BODY[1:]) - 1
    np.testing.assert_allclose(np.minimum(low[mirror] * MIRROR_AXIAL, high[mirror] * MIRROR_AXIAL), low)
    assert np.all(low < high)


def test_limbs_that_pass_through_each_other_have_depth(standing, sway):
    tracker = Tracker(standing, make_reference(standing, sway))
    ends, radius, pairs = clearance_capsules(standing.body)
    depth, apart = np.zeros(len(pairs)), np.zeros(len(pairs))
    pos, rot = tracker.ref_pos[0].copy(), tracker.ref_rot[0]
    penetration_depths(pos, rot, ends, radius, pairs, apart)
    pos[[4, 7, 10]] = pos[[5, 8, 11]]  # the left shank and foot moved into the right
    penetration_depths(pos, rot, ends, radius, pairs, depth)
    assert apart[:5].max() == 0.0
    assert depth[0] > 0.05


def test_controls_run_linearly_from_knot_to_knot():
    base, out = np.zeros((8, 69)), np.zeros((1, 8, 69))
    offsets = np.array([[[0.0], [1.0], [-1.0]]])
    fill_controls(base, offsets, np.array([5]), 4, out)
    np.testing.assert_allclose(out[0, :, 5], [0.25, 0.5, 0.75, 1.0, 0.5, 0.0, -0.5, -1.0])
    assert np.count_nonzero(np.delete(out[0], 5, axis=1)) == 0

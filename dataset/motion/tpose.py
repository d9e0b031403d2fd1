"""From a source's rest pose to ours: global rotations that keep bone directions and twist.

Every reader ends in the **canonical skeleton**: the 24 bodies in a T-pose facing +x with arms exactly along +-y, legs
exactly down and the pelvis joint midway between the hips. A source body's rotation G_s (source rest frame to world)
becomes G_c = G_s ⊗ between(canonical bone direction, source's rest bone direction): the bone to the child keeps the
direction it has in the source, and the turn about the bone is the source's own. `dataset.motion.retarget` does the same
step from the canonical skeleton to a subject's.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dataset import rotation
from dataset.skeleton import BODY_INDEX, NUM_BODIES

LIMB_CHILD: Final[dict[int, int]] = {
    BODY_INDEX[parent]: BODY_INDEX[child]
    for parent, child in (
        ("L_Hip", "L_Knee"), ("L_Knee", "L_Ankle"), ("R_Hip", "R_Knee"), ("R_Knee", "R_Ankle"),
        ("L_Shoulder", "L_Elbow"), ("L_Elbow", "L_Wrist"), ("R_Shoulder", "R_Elbow"), ("R_Elbow", "R_Wrist"),
    )
}  # fmt: skip
"""Long bones: the body and the child whose joint ends it. Trunk, feet and hands keep the source's frame (a rest pose is
taken to have an upright trunk and flat feet: bone directions there differ between skeletons because joints are placed
differently)."""


def canonical_direction() -> np.ndarray:
    """Unit direction of each long bone in the canonical T-pose, shape (N, 3); zero for other bodies."""
    direction = np.zeros((NUM_BODIES, 3))
    for body, child in LIMB_CHILD.items():
        is_arm = body >= BODY_INDEX["L_Shoulder"]
        side = 1.0 if body in (BODY_INDEX["L_Shoulder"], BODY_INDEX["L_Elbow"]) else -1.0
        direction[body] = (0.0, side, 0.0) if is_arm else (0.0, 0.0, -1.0)
        assert child > body
    return direction


def rest_direction(joint_pos: np.ndarray) -> np.ndarray:
    """Unit direction of each long bone in a rest pose with these joint centres, shape (N, 3); zero elsewhere."""
    direction = np.zeros((NUM_BODIES, 3))
    for body, child in LIMB_CHILD.items():
        bone = joint_pos[child] - joint_pos[body]
        direction[body] = bone / np.linalg.norm(bone)
    return direction


def keep_bone_directions(body_quat: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Global rotations of the target's bodies whose long bones point where the source's point.

    Args:
        body_quat: Source body (rest frame aligned with the world) to world, shape (T, N, 4).
        source: Rest direction of the long bones in the source, shape (N, 3); zero rows are left as they are.
        target: The same in the target.

    Returns:
        Target body to world, shape (T, N, 4).
    """
    result = np.array(body_quat, dtype=np.float64)
    for body in LIMB_CHILD:
        if np.any(source[body]) and np.any(target[body]):
            turn = rotation.between_vectors(target[body], source[body])
            result[:, body] = rotation.multiply(body_quat[:, body], turn)
    return result


def spread_chain(chain: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Global rotations of `count` bodies spread along a source chain with another number of joints.

    The chain is base, joint 1, ... joint k (global rotations, shape (T, 4)). Body i of `count` stands at k * i / count
    joints along it and takes the rotation interpolated there, so the last body turns exactly as the last joint.
    """
    joints = len(chain) - 1
    if joints == 0:
        return [chain[0]] * count
    result = []
    for index in range(1, count + 1):
        place = joints * index / count
        below = min(int(np.floor(place + 1e-9)), joints)
        fraction = place - below
        if fraction < 1e-9:
            result.append(chain[below])
        else:
            result.append(rotation.slerp(chain[below], chain[below + 1], fraction))
    return result

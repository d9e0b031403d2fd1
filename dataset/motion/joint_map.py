"""From a file's own skeleton to the 24 bodies: which joint drives which body, axes, units, and a report of it.

Axis legend: T frames, K source joints, N = 24 bodies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from dataset import rotation
from dataset.kinematics import local_from_global
from dataset.motion.bone_aligned import bone_aligned_frames
from dataset.motion.conventions import Convention, find_convention
from dataset.motion.feet import foot_offset, levelling_turn
from dataset.motion.tpose import LIMB_CHILD, canonical_direction, keep_bone_directions, spread_chain
from dataset.motion.tree import JointTree
from dataset.schema import Motion
from dataset.skeleton import BODY_INDEX, NUM_BODIES, PARENTS

UNITS: Final[dict[str, float]] = {"m": 1.0, "inch / 0.45": 0.0254 / 0.45, "inch": 0.0254, "cm": 0.01, "mm": 0.001}
"""Length units met in such files [m]; CMU files count inches divided by 0.45 (0.05644 m)."""

TYPICAL_LEG: Final[float] = 0.82
"""Hip to knee to ankle of an adult of 1.72 m [m]: the unit that brings the figure's leg nearest to it is taken."""


_Y_UP = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""File axes -> ours for y up; which horizontal axis is called forward does not matter in the world."""


@dataclass(frozen=True, kw_only=True)
class MapReport:
    """What a reader made of a file."""

    convention: str
    """Family of joint names."""
    driven_by: dict[str, str]
    """Body -> source joint (or the chain it is spread along); bodies at rest relative to their parent say so."""
    dropped: tuple[str, ...]
    """Source joints whose rotation is not used by itself (fingers, dummies); one that lies between two used joints still
    counts in the global rotation of the lower one."""
    unit: str
    """Length unit found."""
    unit_length: float
    """That unit [m]."""
    leg_length: float
    """Hip to knee to ankle of the figure [m]."""
    up_axis: str
    """Axis of the file that points up."""
    notes: tuple[str, ...] = ()
    """What was decided or looks unusual, one sentence each."""

    def as_text(self) -> str:
        """The mapping for a person, one line a body."""
        unit = f"unit {self.unit} = {self.unit_length:.5g} m"
        lines = [f"convention {self.convention}, up {self.up_axis}, {unit}, leg {self.leg_length:.3f} m"]
        lines += [f"  {body:<10} <- {joint}" for body, joint in self.driven_by.items()]
        lines += [f"  dropped: {', '.join(self.dropped) or 'nothing'}", *(f"  note: {note}" for note in self.notes)]
        return "\n".join(lines)


def canonical_motion(tree: JointTree, *, name: str, source: str, path: str) -> tuple[Motion, MapReport]:
    """The tree's motion on the canonical skeleton (`dataset.motion.tpose`), in metres, z up.

    Args:
        tree: Posed joints of the file.
        name: Clip name.
        source: Folder or package.
        path: What errors call the file.

    Raises:
        ValueError: If the skeleton is unknown, or no length unit gives it human legs.
    """
    convention, index = find_convention(tree.names, path)
    joints, driven_by = _drivers(convention, index, tree.names)
    rest = tree.rest_positions()
    frames = bone_aligned_frames(tree, joints)
    if frames is None:
        rot_ours_file, up_axis, notes = _axes(rest, joints, path)
        frames = dict.fromkeys((*joints, "trunk", "neck"), rot_ours_file)
    else:
        rot_ours_file, up_axis = _Y_UP, "y"
        notes = ["joint frames run along the bones; the T-pose is taken from the table in dataset.motion.bone_aligned"]
    turn = rotation.from_matrix(rot_ours_file)
    pos, world = tree.pose()

    def posed(joint: int, body: str) -> np.ndarray:
        """Body to our world: file world -> ours on the left, body frame -> joint frame on the right."""
        to_joint = rotation.conjugate(rotation.from_matrix(frames[body]))
        return rotation.multiply(rotation.multiply(turn, world[:, joint]), to_joint)

    leg = 0.5 * sum(
        float(np.linalg.norm(_bone(tree, joints, side + high, side + low)))
        for side in ("L_", "R_")
        for high, low in (("Hip", "Knee"), ("Knee", "Ankle"))
    )
    unit, unit_length = _length_unit(leg, path)

    body_quat = np.zeros((len(pos), NUM_BODIES, 4))
    chains = _chains(convention, index)
    trunk = [posed(joints["Pelvis"], "Pelvis"), *(posed(joint, "trunk") for joint in chains["trunk"])]
    neck = [trunk[-1], *(posed(joint, "neck") for joint in chains["neck"])]
    chain_bodies = ("Torso", "Spine", "Chest", "Neck", "Head")
    spread = dict(zip(chain_bodies, (*spread_chain(trunk, 3), *spread_chain(neck, 2))))
    for body_name, body in BODY_INDEX.items():
        if body_name in spread:
            body_quat[:, body] = spread[body_name]
        elif body_name in joints:
            body_quat[:, body] = posed(joints[body_name], body_name)
        else:
            body_quat[:, body] = body_quat[:, PARENTS[body]]

    direction = np.zeros((NUM_BODIES, 3))
    names = list(BODY_INDEX)
    for body, child in LIMB_CHILD.items():
        direction[body] = frames[names[body]] @ _bone(tree, joints, names[body], names[child])
    body_quat = keep_bone_directions(body_quat, direction, canonical_direction())
    our_pos = unit_length * pos @ rot_ours_file.T
    _level_feet(body_quat, our_pos, joints, tree.frame_rate, notes)
    for side in ("L_", "R_"):  # bodies that no joint drives follow their parent after its correction, not before
        for low, high in (("Toe", "Ankle"), ("Wrist", "Elbow"), ("Hand", "Wrist")):
            if side + low not in joints:
                body_quat[:, BODY_INDEX[side + low]] = body_quat[:, BODY_INDEX[side + high]]

    between_hips = 0.5 * (our_pos[:, joints["L_Hip"]] + our_pos[:, joints["R_Hip"]])
    motion = Motion(
        name=name, source=source, frame_rate=tree.frame_rate, root_pos=between_hips,
        quat=rotation.normalize(local_from_global(body_quat)), leg_length=leg * unit_length,
    )  # fmt: skip
    used = set(joints.values()) | set(chains["trunk"]) | set(chains["neck"])
    report = MapReport(
        convention=convention.name, driven_by=driven_by, unit=unit, unit_length=unit_length, leg_length=leg * unit_length,
        up_axis=up_axis, notes=(*tree.notes, *notes),
        dropped=tuple(item for joint, item in enumerate(tree.names) if joint not in used),
    )  # fmt: skip
    return motion, report


def _level_feet(
    body_quat: np.ndarray, joint_pos: np.ndarray, joints: dict[str, int], frame_rate: float, notes: list[str]
) -> None:
    """Turns ankle and toe bodies in place so that the feet stand level (`dataset.motion.feet`), and notes it."""
    left, right = "L_Ankle", "R_Ankle"
    offset = foot_offset(
        (joint_pos[:, joints[left]], joint_pos[:, joints[right]]),
        (body_quat[:, BODY_INDEX[left]], body_quat[:, BODY_INDEX[right]]),
        frame_rate,
    )
    if offset is None:
        return
    pitch, roll = offset
    notes.append(f"feet stood {np.degrees(pitch):+.0f} degrees toe down, {np.degrees(roll):+.0f} rolled: levelled")
    for side, mirror in (("L_", 1.0), ("R_", -1.0)):
        turn = levelling_turn(pitch, mirror * roll)
        for name in ("Ankle", "Toe"):
            foot = BODY_INDEX[side + name]
            body_quat[:, foot] = rotation.multiply(body_quat[:, foot], turn)


def _chains(convention: Convention, index: dict[str, int]) -> dict[str, list[int]]:
    return {
        "trunk": [index[name] for name in convention.trunk if name in index],
        "neck": [index[name] for name in convention.neck if name in index],
    }


def _drivers(
    convention: Convention, index: dict[str, int], names: tuple[str, ...]
) -> tuple[dict[str, int], dict[str, str]]:
    """Body -> joint for pelvis and limbs, and the words for the report on all bodies."""
    joints = {"Pelvis": index[convention.pelvis]}
    for side, letter in zip(convention.sides, ("L_", "R_")):
        for body, options in convention.limbs.items():
            for option in options:
                if option.replace("*", side) in index:
                    joints[letter + body] = index[option.replace("*", side)]
                    break
    words = {}
    chains = {key: " + ".join(names[joint] for joint in chain) for key, chain in _chains(convention, index).items()}
    for body in BODY_INDEX:
        if body in joints:
            words[body] = names[joints[body]]
        elif body in ("Torso", "Spine", "Chest"):
            words[body] = f"spread along {chains['trunk']}" if chains["trunk"] else "(at rest)"
        elif body in ("Neck", "Head"):
            words[body] = f"spread along {chains['neck']}" if chains["neck"] else "(at rest)"
        else:
            words[body] = "(at rest)"
    return joints, words


def _bone(tree: JointTree, joints: dict[str, int], body: str, child: str) -> np.ndarray:
    """Vector along a limb body's bone in its joint's frame: to the child's joint, else its own end site, else zero."""
    start = joints[body]
    if child not in joints:
        return tree.ends.get(start, np.zeros(3))
    bone, joint = np.zeros(3), joints[child]
    while joint != start:  # dummy joints between the two have no rotation in the rest pose
        bone += tree.offset[joint]
        joint = tree.parents[joint]
    return bone


def _axes(rest: np.ndarray, joints: dict[str, int], path: str) -> tuple[np.ndarray, str, list[str]]:
    """Rotation file -> ours from the rest pose, snapped to the file's axes; rows are our x, y, z in file axes."""
    up = 0.5 * (rest[joints["L_Shoulder"]] + rest[joints["R_Shoulder"]]) - 0.5 * (
        rest[joints["L_Hip"]] + rest[joints["R_Hip"]]
    )
    left = rest[joints["L_Hip"]] - rest[joints["R_Hip"]]
    notes = []
    snapped = []
    for label, vector in (("up", up), ("left", left)):
        axis = np.zeros(3)
        largest = int(np.argmax(np.abs(vector)))
        axis[largest] = np.sign(vector[largest])
        tilt = np.degrees(np.arccos(np.clip(vector @ axis / max(float(np.linalg.norm(vector)), 1e-9), -1, 1)))
        if tilt > 25.0:
            raise ValueError(
                f"{path}: rest pose: expected hips and trunk along the file's axes, found {label} {tilt:.0f} degrees off"
            )
        if tilt > 10.0:
            notes.append(f"the rest pose's {label} direction is {tilt:.0f} degrees off a file axis")
        snapped.append(axis)
    up, left = snapped
    if abs(up @ left) > 0.5:
        raise ValueError(
            f"{path}: rest pose: expected trunk and hip line to be perpendicular, found both along one axis"
        )
    letter = "xyz"[int(np.argmax(np.abs(up)))]
    return np.stack((np.cross(left, up), left, up)), ("-" if up.sum() < 0 else "") + letter, notes


def _length_unit(leg: float, path: str) -> tuple[str, float]:
    """Unit that makes a leg of this many units human."""
    if not leg > 0:
        raise ValueError(f"{path}: skeleton: expected legs of positive length, found {leg}")
    unit = min(UNITS, key=lambda name: abs(np.log(leg * UNITS[name] / TYPICAL_LEG)))
    if not 0.4 < leg * UNITS[unit] / TYPICAL_LEG < 1.6:
        raise ValueError(
            f"{path}: units: expected a human figure in one of {', '.join(UNITS)}; found legs of {leg:.4g} units"
        )
    return unit, UNITS[unit]

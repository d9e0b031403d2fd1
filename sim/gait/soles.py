"""Soles levelled on the data: while a loaded foot rests, its sole is horizontal and at z = 0; raised, it turns about its front.

Masses and joint centres say nothing about shoes, and a laboratory's kinematics may stand a centimetre in or over the plates.
What counts for contact is where the foot is when it carries load and does not move: there lies the ground. A real foot bends
at the toes once the heel is up; a rigid one that reached to their tips would have them centimetres under the ground in the
measured pose. So its front edge is where the measured foot turns on the ground, at the ball (about 80 % of its length).

Axis legend: T frames, F = 2 feet.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dataset.lab.plates import center_of_pressure
from dataset.skeleton import GRAVITY
from sim.gait.body import GaitBody, Sole
from sim.gait.kinematics import place
from sim.gait.segments import FEET

RESTING_TURN = 1.0
"""Angular speed below which a foot rests [rad/s]."""
RESTING_LOAD = 0.3
"""Share of the body weight above which a foot is loaded."""
FEWEST_FRAMES = 5
"""Resting frames that a foot needs."""
HEEL_LOAD = 0.1
"""Share of the body weight above which a centre of pressure counts for the rear end of the sole."""
ROLLING_PITCH = np.radians(10.0)
"""Pitch above which a foot under `RESTING_LOAD` turns about its front edge [rad]."""
FRONT = (0.4, 1.2)
"""Where the front edge of a foot may be, as shares of the foot's length from the heel: elsewhere motion and forces disagree."""
SOLE_MARGIN = 0.01
"""What the contact rectangle reaches behind the rearmost centre of pressure [m]."""


def level_soles(body: GaitBody, qpos: np.ndarray, rate: float, wrench: np.ndarray) -> GaitBody:
    """The body with soles that are horizontal and at z = 0 while the loaded feet rest, as long as the pressure reaches.

    The sole's normal in the foot is the mean of the vertical over the resting frames, its height the mean height there. The
    contact rectangle runs from the anatomical heel, or 1 cm behind the rearmost centre of pressure (1st percentile over frames
    with 10 % of the body weight), to where the sole of the raised foot meets the ground (median over frames with 30 % and a
    pitch of 10 degrees). A foot that never rolls so, as in very slow steps, ends at the foremost centre of pressure (99th
    percentile over frames with 30 %); the body's notes say so.

    Args:
        body: The person.
        qpos: Poses, shape (T, 24).
        rate: Frames per second [Hz].
        wrench: Force and moment about the world origin on each foot, in the world of the poses, shape (T, F, 6); NaN where
            not measured.

    Raises:
        ValueError: a foot that never rests under load, or whose front edge would lie beside it.
    """
    placement = place(body, qpos)
    weight = body.total_mass * GRAVITY
    soles: list[Sole] = []
    notes = list(body.notes)
    for foot, segment in enumerate(FEET):
        rot, origin = placement.rot[:, segment], placement.origin[:, segment]
        turn = np.einsum("tij,tik->tjk", rot[1:], rot[:-1])
        angle = np.arccos(np.clip(0.5 * (np.trace(turn, axis1=1, axis2=2) - 1.0), -1.0, 1.0)) * rate
        speed = np.append(angle, angle[-1])
        force = np.nan_to_num(wrench[:, foot])
        rests = (force[:, 2] > RESTING_LOAD * weight) & (speed < RESTING_TURN)
        side = ("left", "right")[foot]
        if rests.sum() < FEWEST_FRAMES:
            raise ValueError(
                f"{body.name}: forces of the {side} foot: expected at least {FEWEST_FRAMES} frames in which the loaded foot "
                f"rests flat, found {int(rests.sum())}; check that the plates belong to these feet"
            )
        sole, rolls = _levelled(body.soles[foot], rot, origin, force, rests, weight)
        reach = (sole.half_length - sole.heel) / sole.foot_length
        if not FRONT[0] <= reach <= FRONT[1]:
            raise ValueError(
                f"{body.name}: {side} foot: expected it to turn about a line, or to press, at {100 * FRONT[0]:.0f} to "
                f"{100 * FRONT[1]:.0f} % of its length, found {100 * reach:.0f} %; check that forces and motion share clock and "
                "floor, and the markers of this foot"
            )
        soles.append(sole)
        if not rolls:
            notes.append(
                f"The loaded {side} foot has its heel up in fewer than {FEWEST_FRAMES} frames: its sole ends at the foremost "
                "centre of pressure."
            )
    return dataclasses.replace(body, soles=(soles[0], soles[1]), notes=tuple(notes))


def _levelled(
    sole: Sole, rot: np.ndarray, origin: np.ndarray, wrench: np.ndarray, rests: np.ndarray, weight: float
) -> tuple[Sole, bool]:
    """The levelled sole, and whether its front edge is where the foot rolls (else the foremost centre of pressure)."""
    normal = rot[rests, 2].mean(axis=0)  # rows of the world's z axis in the foot's frame
    normal /= np.linalg.norm(normal)
    ahead = sole.rot_fs[:, 0] - (sole.rot_fs[:, 0] @ normal) * normal
    ahead /= np.linalg.norm(ahead)
    axes = np.column_stack([ahead, np.cross(normal, ahead), normal])
    height = float(np.mean(origin[rests, 2] + rot[rests, 2] @ sole.center))
    center = sole.center - height * normal
    pressed = wrench[:, 2] > HEEL_LOAD * weight
    point = np.column_stack([center_of_pressure(wrench[pressed]), np.zeros(int(pressed.sum()))])
    local = np.einsum("tji,tj->ti", rot[pressed], point - origin[pressed])
    along = (local - center) @ axes[:, 0]
    back = min(-0.5 * sole.foot_length, float(np.percentile(along, 1)) - SOLE_MARGIN)
    loaded = wrench[:, 2] > RESTING_LOAD * weight
    height_of, pitch = (origin + rot @ center)[:, 2], -(rot @ ahead)[:, 2]
    rolls = loaded & (pitch > np.sin(ROLLING_PITCH))
    is_rolling = int(rolls.sum()) >= FEWEST_FRAMES
    front = np.median(height_of[rolls] / pitch[rolls]) if is_rolling else np.percentile(along[loaded[pressed]], 99)
    middle = center + 0.5 * (back + float(front)) * axes[:, 0]
    changed = dataclasses.replace(
        sole,
        center=middle,
        rot_fs=axes,
        half_length=0.5 * (float(front) - back),
        heel=sole.heel - 0.5 * (back + float(front)),
    )
    return changed, is_rolling

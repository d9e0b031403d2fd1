"""The gait model's poses from an OpenSim model's coordinates: its body frames are followed frame by frame.

Coordinates are never copied: ankle, subtalar joint and knee of the two models differ. Points are fixed to the OpenSim bodies,
moved through the OpenSim model's own kinematics and given to the same fit that markers go through.

Axis legend: T frames, P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.lab.opensim import Storage
from dataset.lab.osim import OsimModel, body_frames, coordinate_values
from sim.gait.body import GaitBody
from sim.gait.osim_body import SEGMENT_BODY, neutral_frames
from sim.gait.segments import NUM_SEGMENTS, PARENTS, SEGMENTS

_ASIDE = 0.05
"""Distance of the points beside the joint centres [m]."""


@dataclass(frozen=True, kw_only=True)
class FollowedPoints:
    """Points fixed to the segments, and where the OpenSim bodies carry them."""

    segment: np.ndarray
    """Segment of each point, shape (P,)."""
    local: np.ndarray
    """Position in the segment [m], shape (P, 3)."""
    world: np.ndarray
    """Position carried by the OpenSim body [m], world, shape (T, P, 3)."""


def followed_points(model: OsimModel, body: GaitBody, storage: Storage) -> FollowedPoints:
    """Points of every segment: proximal and distal joint centres and points 5 cm aside of them; heel and toe tip of the feet.

    A point that is fixed to the segment in the neutral pose is carried by the segment's OpenSim body from there on.

    Raises:
        ValueError: coordinates that the storage lacks.
    """
    neutral = neutral_frames(model)
    moved = body_frames(model, coordinate_values(model, storage))
    origin = _neutral_origins(body, neutral)
    segments, locals_, worlds = [], [], []
    for segment in range(NUM_SEGMENTS):
        local = _points_of(body, segment)
        rot0, pos0 = neutral[SEGMENT_BODY[SEGMENTS[segment]]]
        in_body = (origin[segment] + local - pos0) @ rot0
        rot, pos = moved[SEGMENT_BODY[SEGMENTS[segment]]]
        worlds.append(pos[:, None] + np.einsum("tij,pj->tpi", rot, in_body))
        segments += [segment] * len(local)
        locals_.append(local)
    return FollowedPoints(
        segment=np.array(segments), local=np.concatenate(locals_), world=np.concatenate(worlds, axis=1)
    )


def _neutral_origins(body: GaitBody, neutral: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    origin = np.zeros((NUM_SEGMENTS, 3))
    origin[0] = 0.5 * (neutral["femur_l"][1] + neutral["femur_r"][1])
    for segment in range(1, NUM_SEGMENTS):
        origin[segment] = origin[PARENTS[segment]] + body.joint_pos[segment]
    return origin


def _points_of(body: GaitBody, segment: int) -> np.ndarray:
    aside = _ASIDE * np.eye(3)[:2]
    near = np.concatenate([np.zeros((1, 3)), aside, -aside])
    name = SEGMENTS[segment]
    if name.endswith("foot"):
        sole = body.soles["lr".index(name[0])]
        return np.concatenate([near, sole.corners])
    ends = [body.joint_pos[child] for child in range(1, NUM_SEGMENTS) if PARENTS[child] == segment]
    far = [2.0 * body.com[segment]] if name == "trunk" else ends
    return np.concatenate([near, *(end + np.concatenate([np.zeros((1, 3)), aside, -aside]) for end in far)])

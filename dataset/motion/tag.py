"""What a stretch of motion is, in one word: by the names its authors gave it, then by how the pelvis moves.

`walk` is plain walking: upright, mostly straight, at 0.35 to 2.2 m/s. Everything else is a kind of its own, so that a
list of motions can be balanced.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dataset import rotation
from dataset.motion.cycle import heading
from dataset.schema import Motion

PLAIN_WALK: Final[str] = "walk"

_BY_NAME: Final[tuple[tuple[str, str], ...]] = (
    ("push", "pushed"), ("raise", "lifted"), ("slope", "slope"), ("stealthy", "stealth"), ("zombie", "zombie"),
    ("thomas", "breakdance"), ("b_boy", "breakdance"), ("tennis", "tennis"), ("basket", "basketball"),
    ("timecritical", "martial"), ("martial", "martial"), ("131_", "martial"), ("boxman", "boxing"), ("round_girl", "styled walk"),
    ("_tt_", "table tennis"), ("salsa", "dance"), ("charleston", "dance"), ("lambada", "dance"), ("pirouette", "dance"),
    ("/05/", "dance"), ("/06/", "basketball"), ("dance", "dance"), ("spinkick", "kick"), ("kick", "kick"), ("punch", "punch"),
    ("cartwheel", "acrobatics"), ("cart", "acrobatics"), ("flip", "acrobatics"), ("roll", "acrobatics"), ("spin", "dance"),
    ("crawl", "crawl"), ("getup", "getup"), ("falling", "fall"), ("hop", "hop"), ("jump", "jump"), ("cancan", "run"),
    ("low_walk", "styled walk"), ("walkazuma", "styled walk"), ("walkbackward", "backward"), ("walkhandwav", "styled walk"),
    ("walklean", "styled walk"), ("walksoldier", "styled walk"), ("walksukiko", "styled walk"), ("walktongtong", "styled walk"),
    ("wide_ext", "styled walk"), ("spiral", "turn"), ("lineup", "turn"), ("t_pose", "poses"), ("pose", "poses"),
)  # fmt: skip
"""Part of the lower-case path -> tag; the first that fits."""


def motion_tag(relative_path: str, motion: Motion) -> str:
    """Tag of a motion (already on a subject, z up) that came from this path relative to its data folder."""
    path = "/" + relative_path.lower()
    for part, tag in _BY_NAME:
        if part in path:
            return tag
    return _by_pelvis(motion)


def _by_pelvis(motion: Motion) -> str:
    step = np.diff(motion.root_pos[:, :2], axis=0)
    length = np.linalg.norm(step, axis=-1)
    duration = max(motion.duration, 1e-6)
    speed = float(length.sum() / duration)
    turned = np.unwrap(heading(rotation.make_continuous(motion.quat[:, 0])))
    turn_rate = float(np.ptp(turned) / duration)
    forward = rotation.rotate(motion.quat[:-1, 0], np.array([1.0, 0.0, 0.0]))[:, :2]
    along = float(np.sum(forward * step) / max(length.sum(), 1e-9))
    rise = float(np.percentile(motion.root_pos[:, 2], 98) - np.percentile(motion.root_pos[:, 2], 2))
    if speed > 2.2:
        return "run"
    if speed < 0.3:
        return "stand"
    if rise > 0.25:
        return "jump"
    if along < -0.5:
        return "backward"
    if along < 0.6:
        return "sidestep"
    if turn_rate > np.radians(25.0):
        return "turn"
    return PLAIN_WALK if speed >= 0.35 else "start or stop"

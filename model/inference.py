"""The trained solver on whole marker tracks: every frame's forces and every transition's impulses, in newtons and world axes.

Axis legend: T frames at 30 Hz, P markers, J joints, N bodies, E = 2 feet, B windows, U = 2 times (t, t + 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dataset.schema import FRAME_RATE
from dataset.skeleton import FEET, MIRROR_AXIAL, MIRROR_BODY, MIRROR_VECTOR, NUM_BODIES, NUM_JOINTS
from kernels.tokens import make_tokens
from kernels.windows import list_window_frames
from model.frames import HALF_WIDTH, WINDOW
from model.imdys import NUM_TIMES, ImDyS, Prediction

_MIRROR_JOINT = np.array(MIRROR_BODY[1:]) - 1
_MIRROR_TOKEN = np.tile(MIRROR_VECTOR, 2 * WINDOW).astype(np.float32)
_BATCH = 2400


@dataclass(frozen=True, kw_only=True)
class SolvedMotion:
    """What the solver says about a motion. NaN where no whole window of markers was there."""

    impulse: np.ndarray
    """Imposed angular momentum of each transition [N·m·s], child body frames, shape (T - 1, J, 3)."""
    grf: np.ndarray
    """Force of the ground on each body [N], world, shape (T, N, 3); zero where contact is unlikely."""
    contact: np.ndarray
    """Probability that the ground touches the body, shape (T, N)."""
    foot_cop: np.ndarray
    """Centre of pressure of each foot on the floor [m], world, shape (T, E, 2); NaN also where the foot carries nothing."""

    @property
    def foot_grf(self) -> np.ndarray:
        """Force on the left and the right foot [N], world, (T, E, 3)."""
        return np.stack([self.grf[:, list(foot)].sum(axis=1) for foot in FEET], axis=1)


def solve(
    model: ImDyS,
    marker_pos: np.ndarray,
    origin: np.ndarray,
    heading: np.ndarray,
    mass: float,
    *,
    gate: float = 0.5,
    is_averaged_with_mirror: bool = True,
    least_markers: int = 8,
) -> SolvedMotion:
    """Run the solver over marker tracks.

    Window t is answered in its own frame and turned back; the force at a frame is the mean of what the windows t (its time
    t) and t − 1 (its time t + 1) say. Frames nearer than two frames to the start or three to the end have one answer or
    none.

    Args:
        model: Trained solver.
        marker_pos: Marker positions at 30 Hz [m], world (z up, floor at z = 0), shape (T, P, 3); NaN in gaps. Any labels,
            any order.
        origin: Pelvis position [m], world, horizontal, shape (T, 2).
        heading: Angle about z of the pelvis' forward axis [rad], shape (T,).
        mass: Body mass [kg].
        gate: Contact probability below which a body's force is zero; 0 for no gate.
        is_averaged_with_mirror: Average with the answer to the mirrored window, which halves what is left of the side bias.
        least_markers: Windows with fewer gap-free markers get no answer.

    Raises:
        ValueError: A shape is wrong, the mass is not positive, or origin or heading is not finite.
    """
    frames, num_markers = marker_pos.shape[:2]
    for name, array, shape in (
        ("marker_pos", marker_pos, (frames, num_markers, 3)), ("origin", origin, (frames, 2)), ("heading", heading, (frames,)),
    ):  # fmt: skip
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    if not (mass > 0 and np.isfinite(mass)):
        raise ValueError(f"mass: expected a positive number of kilograms, got {mass}")
    for name, array in (("origin", origin), ("heading", heading)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite values, got {int((~np.isfinite(array)).sum())} others; fill gaps first")
    sums = _Sums(frames)
    markers = np.ascontiguousarray(marker_pos, dtype=np.float32)
    windows = list_window_frames(np.array([0, frames]), HALF_WIDTH)
    for start in range(0, len(windows), _BATCH):
        centre = windows[start : start + _BATCH]
        place = np.concatenate([origin[centre], np.zeros((len(centre), 1))], axis=1)
        index = np.tile(np.arange(num_markers, dtype=np.int32), (len(centre), 1))
        tokens, mask = make_tokens(
            markers, centre, index, origin=place, heading=heading[centre], half_width=HALF_WIDTH, rate=FRAME_RATE
        )
        enough = mask.sum(axis=1) >= least_markers
        tokens, mask = tokens[enough], mask[enough]
        answer = _answer(model, tokens, mask)
        if is_averaged_with_mirror:
            image = _mirrored(_answer(model, tokens * _MIRROR_TOKEN, mask))
            answer = {name: 0.5 * (answer[name] + image[name]) for name in answer}
        sums.add(centre[enough], place[enough, :2], heading[centre][enough], answer)
    return sums.finish(mass, gate)


@torch.no_grad()
def _answer(model: ImDyS, tokens: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Impulse, force, contact probability and centre of pressure in the window's frame."""
    count = len(tokens)
    if not count:
        return {
            "impulse": np.zeros((0, NUM_JOINTS, 3)), "grf": np.zeros((0, NUM_TIMES, NUM_BODIES, 3)),
            "contact": np.zeros((0, NUM_TIMES, NUM_BODIES)), "foot_cop": np.zeros((0, NUM_TIMES, len(FEET), 2)),
        }  # fmt: skip
    prediction: Prediction = model([(torch.from_numpy(tokens), torch.from_numpy(mask))])
    return {
        "impulse": prediction.impulse.numpy(), "grf": prediction.grf.numpy(),
        "contact": prediction.contact_logit.sigmoid().numpy(), "foot_cop": prediction.foot_cop.numpy(),
    }  # fmt: skip


def _mirrored(answer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The answer for the image in the plane y = 0 of the window's frame."""
    return {
        "impulse": answer["impulse"][:, _MIRROR_JOINT] * MIRROR_AXIAL,
        "grf": answer["grf"][:, :, list(MIRROR_BODY)] * MIRROR_VECTOR,
        "contact": answer["contact"][:, :, list(MIRROR_BODY)],
        "foot_cop": answer["foot_cop"][:, :, ::-1] * MIRROR_VECTOR[:2],
    }


class _Sums:
    """Sums over the windows that answer for each frame."""

    def __init__(self, frames: int) -> None:
        self.count = np.zeros(frames)
        self.impulse = np.full((frames - 1, NUM_JOINTS, 3), np.nan)
        self.grf = np.zeros((frames, NUM_BODIES, 3))
        self.contact = np.zeros((frames, NUM_BODIES))
        self.foot_cop = np.zeros((frames, len(FEET), 2))

    def add(self, centre: np.ndarray, origin: np.ndarray, heading: np.ndarray, answer: dict[str, np.ndarray]) -> None:
        """Turn the answers of windows into the world and add them to frames t and t + 1 (each frame once a call and time)."""
        cosine, sine = np.cos(heading), np.sin(heading)
        turn = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
        self.impulse[centre] = answer["impulse"]
        for time in range(NUM_TIMES):
            rows = centre + time
            self.count[rows] += 1
            horizontal = np.einsum("bij,bnj->bni", turn, answer["grf"][:, time, :, :2])
            self.grf[rows] += np.concatenate([horizontal, answer["grf"][:, time, :, 2:]], axis=-1)
            self.contact[rows] += answer["contact"][:, time]
            self.foot_cop[rows] += origin[:, None] + np.einsum("bij,bej->bei", turn, answer["foot_cop"][:, time])

    def finish(self, mass: float, gate: float) -> SolvedMotion:
        """Means over the windows, gated, in newtons."""
        with np.errstate(invalid="ignore", divide="ignore"):
            weight = 1.0 / self.count
            weight[self.count == 0] = np.nan
            contact = self.contact * weight[:, None]
            grf = mass * self.grf * weight[:, None, None]
            grf[contact < gate] = 0.0
            foot_cop = self.foot_cop * weight[:, None, None]
        carries = np.stack([(grf[:, list(foot), 2].sum(axis=1) > 0) for foot in FEET], axis=1)
        foot_cop[~carries] = np.nan
        return SolvedMotion(impulse=mass * self.impulse, grf=grf, contact=contact, foot_cop=foot_cop)

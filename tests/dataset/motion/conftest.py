"""Bodies, synthetic clips and small motion files for the motion tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataset import rotation
from dataset.body.default import make_body
from dataset.body.model import BodyModel
from dataset.motion.embedded import embedded_clips
from dataset.schema import Motion, Subject
from dataset.skeleton import NUM_BODIES


@pytest.fixture(scope="session")
def body() -> BodyModel:
    """The default adult."""
    return make_body(Subject(name="adult"))


@pytest.fixture(scope="session")
def child() -> BodyModel:
    """A child of 1.2 m."""
    return make_body(Subject(name="child", height=1.2, mass=24.0))


@pytest.fixture(scope="session")
def clips() -> dict[str, Motion]:
    """The embedded clips, each one cycle long; skipped where the wheel is neither cached nor to be had."""
    try:
        return embedded_clips(min_cycle_duration=0.0)
    except FileNotFoundError as error:
        pytest.skip(f"embedded clips: {error}")


@pytest.fixture
def make_motion() -> Callable[..., Motion]:
    """Maker of canonical T-pose motions, to be changed by the test."""

    def make(
        frames: int = 61, *, rate: float = 30.0, height: float = 0.9, name: str = "made", **changes: object
    ) -> Motion:
        quat = np.tile(rotation.IDENTITY, (frames, NUM_BODIES, 1))
        root_pos = np.tile([0.0, 0.0, height], (frames, 1))
        fields: dict[str, object] = {
            "name": name, "source": "test", "frame_rate": rate, "root_pos": root_pos, "quat": quat, "leg_length": 0.85,
        }  # fmt: skip
        return Motion(**(fields | changes))  # type: ignore[arg-type]

    return make


# joint, parent, offset in cm (x left, y up, z forward): a T-pose with Mixamo's names
_TREE = (
    ("Hips", "", (0, 90, 0)), ("Spine", "Hips", (0, 12, 0)), ("Spine1", "Spine", (0, 18, 0)),
    ("Neck", "Spine1", (0, 22, 0)), ("Head", "Neck", (0, 10, 0)),
    ("LeftShoulder", "Spine1", (4, 16, 0)), ("LeftArm", "LeftShoulder", (12, 0, 0)), ("LeftForeArm", "LeftArm", (27, 0, 0)),
    ("LeftHand", "LeftForeArm", (24, 0, 0)), ("RightShoulder", "Spine1", (-4, 16, 0)),
    ("RightArm", "RightShoulder", (-12, 0, 0)), ("RightForeArm", "RightArm", (-27, 0, 0)),
    ("RightHand", "RightForeArm", (-24, 0, 0)), ("LeftUpLeg", "Hips", (9, -2, 0)), ("LeftLeg", "LeftUpLeg", (0, -42, 0)),
    ("LeftFoot", "LeftLeg", (0, -40, 0)), ("LeftToeBase", "LeftFoot", (0, -6, 14)), ("RightUpLeg", "Hips", (-9, -2, 0)),
    ("RightLeg", "RightUpLeg", (0, -42, 0)), ("RightFoot", "RightLeg", (0, -40, 0)), ("RightToeBase", "RightFoot", (0, -6, 14)),
)  # fmt: skip


@pytest.fixture
def write_bvh(tmp_path: Path) -> Callable[..., Path]:
    """Writer of a BVH file in cm, y up, facing z, channels Zrotation Xrotation Yrotation.

    `angles` maps a joint to its (z, x, y) degrees of every frame, `rename` a joint to another name, `offsets` a joint
    to
    another offset.
    """

    def write(
        *,
        frames: int = 4,
        angles: dict[str, tuple[float, float, float]] | None = None,
        rename: dict[str, str] | None = None,
        offsets: dict[str, tuple[float, float, float]] | None = None,
        scale: float = 1.0,
        name: str = "made.bvh",
    ) -> Path:
        angles, rename, offsets = angles or {}, rename or {}, offsets or {}
        lines = ["HIERARCHY"]

        def add(joint: str, depth: int) -> None:
            pad = "  " * depth
            offset = offsets.get(joint, next(item[2] for item in _TREE if item[0] == joint))
            children = [item[0] for item in _TREE if item[1] == joint]
            position = "6 Xposition Yposition Zposition " if depth == 0 else "3 "
            lines.append(f"{pad}{'ROOT' if depth == 0 else 'JOINT'} {rename.get(joint, joint)}")
            lines.append(pad + "{")
            lines.append(f"{pad}  OFFSET " + " ".join(str(scale * value) for value in offset))
            lines.append(f"{pad}  CHANNELS {position}Zrotation Xrotation Yrotation")
            order.append(joint)
            for child_joint in children:
                add(child_joint, depth + 1)
            if not children:
                lines.extend((f"{pad}  End Site", pad + "  {", f"{pad}    OFFSET 0 0 {5 * scale}", pad + "  }"))
            lines.append(pad + "}")

        order: list[str] = []
        add("Hips", 0)
        row = [f"0 {90 * scale} 0"] + [
            " ".join(str(value) for value in angles.get(joint, (0, 0, 0))) for joint in order
        ]
        lines += ["MOTION", f"Frames: {frames}", "Frame Time: 0.0333333", *[" ".join(row)] * frames]
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write

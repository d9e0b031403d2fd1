"""AMASS npz files (SMPL-H or SMPL-X parameters): arrays in, a motion on the canonical skeleton out.

SMPL body frames in the rest pose are x left, y up, z forward; the world of AMASS is z up. The first 22 joints of SMPL-H
and SMPL-X are SMPL's; hands are joints 22 (left) and 23 (right) in SMPL and finger joints here, so the hand bodies stay
at rest.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataset import rotation
from dataset.kinematics import global_from_local, local_from_global
from dataset.motion.tpose import canonical_direction, keep_bone_directions, rest_direction
from dataset.schema import Motion
from dataset.skeleton import BODY_INDEX, NUM_BODIES

_BODY_JOINTS = 22
_ROT_SMPL_OURS = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
"""SMPL's axes (x left, y up, z forward) seen from ours: columns are our forward, left, up."""


def read_amass(path: str | Path, rest_joint_pos: np.ndarray, *, source: str = "amass") -> Motion:
    """Motion of an AMASS file.

    The file holds rotations relative to SMPL's rest pose and the translation of SMPL's own origin; both need the rest
    joints of the subject's shape. Exact with the rest joints of the user's SMPL model, approximate (a few degrees in
    the long bones, a few cm in the pelvis) with those of the default body, whose topology and T-pose are the same.

    Args:
        path: The npz file: `poses` (T, 156 or 165) axis angles, `trans` (T, 3) [m], `mocap_framerate` or
            `mocap_frame_rate` [Hz].
        rest_joint_pos: Rest joint centres in our axes [m], shape (N, 3), of an SMPL model or of a `BodyModel`, origin
            as in `BodyModel.joint_pos`; only differences count.
        source: Folder or package it came from, stored in the motion.

    Raises:
        ValueError: If the file is no npz, a field is missing, is an object array or has another shape, or a value is
        not finite.
    """
    poses, trans, rate = _read_fields(path)
    frames = len(poses)
    smpl = np.zeros((frames, NUM_BODIES, 4))
    smpl[:] = rotation.IDENTITY
    rotvec = poses[:, : 3 * _BODY_JOINTS].reshape(frames, _BODY_JOINTS, 3)
    smpl[:, :_BODY_JOINTS] = rotation.from_rotation_vector(rotvec)
    # components into our axes: v_ours = C v_smpl
    to_ours = _ROT_SMPL_OURS.T
    quat = smpl.copy()
    quat[..., 1:] = smpl[..., 1:] @ to_ours.T
    # the root maps SMPL axes to the world directly: R_world_ours = R_world_smpl · C⁻¹
    quat[:, 0] = rotation.multiply(smpl[:, 0], rotation.from_matrix(_ROT_SMPL_OURS))

    body_quat = keep_bone_directions(global_from_local(quat), rest_direction(rest_joint_pos), canonical_direction())
    hips = [rest_joint_pos[BODY_INDEX[name]] for name in ("L_Hip", "R_Hip")]
    # SMPL turns the body about its pelvis joint, which lies at its template's origin plus `trans`
    between_hips = 0.5 * (hips[0] + hips[1]) - rest_joint_pos[0]
    root_pos = trans + rotation.rotate(quat[:, 0], between_hips)
    leg = 0.5 * sum(
        float(np.linalg.norm(rest_joint_pos[BODY_INDEX[side + low]] - rest_joint_pos[BODY_INDEX[side + high]]))
        for side in ("L_", "R_")
        for high, low in (("Hip", "Knee"), ("Knee", "Ankle"))
    )
    return Motion(
        name=Path(path).stem, source=source, frame_rate=rate, root_pos=root_pos,
        quat=rotation.normalize(local_from_global(body_quat)), leg_length=leg,
    )  # fmt: skip


def _read_fields(path: str | Path) -> tuple[np.ndarray, np.ndarray, float]:
    import zipfile

    try:
        content = np.load(path, allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path}: expected an AMASS npz file, found {error}; copy or download it again") from error
    if not isinstance(content, np.lib.npyio.NpzFile):
        raise ValueError(f"{path}: expected an AMASS npz file with named arrays, found one bare array; give the npz")
    with content:
        poses = _field(content, path, "poses")
        trans = _field(content, path, "trans")
        rate_name = next((name for name in ("mocap_framerate", "mocap_frame_rate") if name in content.files), "")
        if not rate_name:
            raise ValueError(
                f"{path}: expected mocap_framerate or mocap_frame_rate [Hz], found {', '.join(content.files)}; add "
                "the rate to the file"
            )
        rate = _field(content, path, rate_name)
    if poses.ndim != 2 or poses.shape[1] < 3 * _BODY_JOINTS or len(poses) < 1:
        raise ValueError(
            f"{path}: poses: expected (frames, 156) for SMPL-H or (frames, 165) for SMPL-X, found {poses.shape}; "
            "give the parameters of one of these models"
        )
    if trans.shape != (len(poses), 3):
        raise ValueError(f"{path}: trans: expected ({len(poses)}, 3), found {trans.shape}; copy the file again")
    for name, values in (("poses", poses), ("trans", trans)):
        if not np.all(np.isfinite(values)):
            first = int(np.argmax(~np.all(np.isfinite(values), axis=1)))
            raise ValueError(
                f"{path}: {name}: expected finite numbers, found NaN or infinity in frame {first}; repair or cut such frames"
            )
    if rate.size != 1 or not float(rate.reshape(())) > 0:
        raise ValueError(f"{path}: {rate_name}: expected one positive rate [Hz], found {rate}; correct it in the file")
    return poses, trans, float(rate.reshape(()))


def _field(content: np.lib.npyio.NpzFile, path: str | Path, name: str) -> np.ndarray:
    if name not in content.files:
        raise ValueError(
            f"{path}: {name}: expected this field of an AMASS file, found {', '.join(content.files) or 'nothing'}; "
            "give a file of motion"
        )
    try:
        return np.asarray(content[name], dtype=np.float64)
    except ValueError as error:
        raise ValueError(
            f"{path}: {name}: expected numbers, found an object array ({error}); such arrays are pickles, which are never "
            "loaded: convert the file with numpy to plain float arrays"
        ) from error

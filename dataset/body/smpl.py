"""A user's own SMPL file as a body: the official pickle or an npz, without running its code and without chumpy.

SMPL (Loper et al. 2015) may not be shipped with this project; a user who has a licence points here to the file. Official files
are Python 2 pickles that hold numpy arrays, scipy sparse matrices and chumpy objects. A pickle can call any function when it
is read, so this one is read by an unpickler that knows a dozen harmless names and refuses the file at the first other one.

SMPL's axes are x left, y up, z forward; ours x forward, y left, z up. Its 24 joints and ours are the same, in the same order.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from dataset.body.inertia import body_inertia, cut_bodies
from dataset.body.model import BodyModel
from dataset.body.shapes import collision_shapes
from dataset.schema import Subject
from dataset.skeleton import NUM_BODIES, PARENTS

ROT_OURS_SMPL: Final[np.ndarray] = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""Takes components in SMPL's axes to components in ours."""

_KEYS: Final[tuple[str, ...]] = ("v_template", "shapedirs", "J_regressor", "weights", "kintree_table", "f")
"""What is read of a file; pose-dependent corrections (`posedirs`) are not, the body is rigid."""

_OTHER_MODELS: Final[dict[int, str]] = {
    52: "SMPL-H or MANO-articulated SMPL",
    55: "SMPL-X",
    16: "MANO",
    5: "FLAME",
    33: "SMAL",
}


class _Opaque:
    """Stands for an object of a package that is not needed: keeps the state that the pickle hands it."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Sparse(_Opaque):
    """A compressed sparse column matrix."""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"_codecs.encode to '{encoding}'")
    return text.encode("latin1")


def _reconstruct_object(kind: type, base: type, state: Any) -> Any:
    if kind not in (_Opaque, _Sparse) or base is not object or state is not None:
        raise pickle.UnpicklingError(f"copy_reg._reconstructor of {kind!r}")
    return kind()


def _allowed(module: str, name: str) -> Any:
    """What a global of the pickle becomes; None if it is refused."""
    # numpy 2 renamed numpy.core; files of either age name the same three functions.
    if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in ("_reconstruct", "scalar"):
        import numpy._core.multiarray as multiarray

        return getattr(multiarray, name)
    if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
        return getattr(np, name)
    if (module, name) == ("_codecs", "encode"):
        return _encode
    if module in ("copy_reg", "copyreg") and name == "_reconstructor":
        return _reconstruct_object
    if module in ("__builtin__", "builtins") and name == "object":
        return object
    if module in ("__builtin__", "builtins") and name in ("set", "frozenset"):
        return {"set": set, "frozenset": frozenset}[name]
    if module.startswith("scipy.sparse") and name == "csc_matrix":
        return _Sparse
    if module.split(".")[0] == "chumpy":
        return _Opaque
    return None


class _RestrictedUnpickler(pickle.Unpickler):
    """Reads arrays, numbers, text and containers; every other name in the file is an error."""

    def find_class(self, module: str, name: str) -> Any:
        found = _allowed(module, name)
        if found is None:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return found


def load_smpl(path: str | os.PathLike[str], subject: Subject, betas: np.ndarray | None = None) -> BodyModel:
    """Body model from a user's SMPL file.

    Args:
        path: Official `.pkl` or an `.npz` with the same keys.
        subject: Person: sex and mass decide masses and inertias. Without `betas` the mean shape is scaled to
            `subject.height`; with them the height is the mesh's, and replaces the subject's in the result.
        betas: Shape coefficients, shape (at most the file's number,).

    Returns:
        Body in our axes, floor z = 0, pelvis at x = y = 0. Masses and inertias as for the default body
        (`dataset.body.inertia`), from the left half of the mesh for both sides.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not an SMPL model, names anything an array file has no need of, or lacks a key; if the
            betas do not fit it.
    """
    path = Path(path)
    arrays = _read(path)
    template, directions = arrays["v_template"], arrays["shapedirs"]
    vertices = template
    if betas is not None:
        used = np.asarray(betas, dtype=np.float64)
        if used.ndim != 1 or len(used) > directions.shape[2] or not np.isfinite(used).all():
            raise ValueError(
                f"load_smpl: betas: expected at most {directions.shape[2]} finite numbers, got shape {used.shape}"
            )
        vertices = template + directions[:, :, : len(used)] @ used
    joint_pos = arrays["J_regressor"] @ vertices
    vertices, joint_pos = vertices @ ROT_OURS_SMPL.T, joint_pos @ ROT_OURS_SMPL.T
    height = float(np.ptp(vertices[:, 2]))
    if not 0.3 < height < 3.0:
        raise ValueError(f"{path}: height of the mesh: expected 0.3 to 3 m along y, found {height:.3f}: not in metres?")
    scale = subject.height / height if betas is None else 1.0
    if betas is not None:
        subject = dataclasses.replace(subject, height=height)
    shift = np.array([joint_pos[0, 0], joint_pos[0, 1], vertices[:, 2].min()])
    vertices, joint_pos = (vertices - shift) * scale, (joint_pos - shift) * scale

    weights = _four_largest(arrays["weights"])
    faces = arrays["f"].astype(np.int32)
    pieces = cut_bodies(vertices, faces, joint_pos)
    mass, com, inertia = body_inertia(pieces, joint_pos, subject.sex, subject.height, subject.mass)
    return BodyModel(
        subject=subject,
        joint_pos=joint_pos,
        mass=mass,
        com=com,
        inertia=inertia,
        shapes=collision_shapes(vertices, weights, joint_pos, pieces),
        vertices=vertices,
        faces=faces,
        weights=weights,
        provenance=f"SMPL file {path.name}",
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of `_KEYS`, float64, checked against each other."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; download SMPL from its licensor and give the path of its .pkl or .npz"
        )
    raw = _read_npz(path) if zipfile.is_zipfile(path) else _read_pickle(path)
    missing = [key for key in _KEYS if key not in raw]
    if missing:
        raise ValueError(f"{path}: expected an SMPL model with {', '.join(_KEYS)}; missing {', '.join(missing)}")
    arrays = {key: _dense(path, key, raw[key]) for key in _KEYS}

    joints = arrays["kintree_table"].shape[-1]
    if joints != NUM_BODIES:
        kind = f" ({_OTHER_MODELS[joints]})" if joints in _OTHER_MODELS else ""
        raise ValueError(f"{path}: kintree_table: expected the {NUM_BODIES} joints of SMPL, found {joints}{kind}")
    parents = arrays["kintree_table"][0].astype(np.int64)
    if tuple(parents[1:]) != PARENTS[1:]:
        raise ValueError(
            f"{path}: kintree_table: expected SMPL's parents {PARENTS[1:]}, found {tuple(parents[1:].tolist())}"
        )
    count = len(arrays["v_template"])
    shapes = {
        "v_template": (count, 3), "shapedirs": (count, 3, arrays["shapedirs"].shape[-1]), "J_regressor": (NUM_BODIES, count),
        "weights": (count, NUM_BODIES), "f": (len(arrays["f"]), 3),
    }  # fmt: skip
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise ValueError(f"{path}: {key}: expected shape {shape}, found {arrays[key].shape}")
        if not np.isfinite(arrays[key]).all():
            raise ValueError(f"{path}: {key}: expected finite numbers, found NaN or infinity")
    if arrays["f"].min() < 0 or arrays["f"].max() >= count:
        raise ValueError(f"{path}: f: expected vertex indices below {count}, found {arrays['f'].max():.0f}")
    return arrays


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files if key in _KEYS}
    except ValueError as error:
        raise ValueError(
            f"{path}: expected plain arrays, found Python objects: save it with plain arrays ({error})"
        ) from error


def _read_pickle(path: Path) -> dict[str, Any]:
    with open(path, "rb") as stream:
        try:
            content = _RestrictedUnpickler(stream, encoding="latin1").load()
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path}: expected the arrays of an SMPL model, found '{error}', which is refused: an array file does not need "
                "it, and it could run code"
            ) from error
        except Exception as error:  # a damaged pickle fails in as many ways as there are opcodes
            raise ValueError(
                f"{path}: expected an SMPL pickle or npz, found something unreadable ({error!r})"
            ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a dictionary of arrays, found {type(content).__name__}")
    return content


def _dense(path: Path, key: str, value: Any) -> np.ndarray:
    """Array of a numpy array, a sparse matrix or a chumpy object, float64."""
    if isinstance(value, _Sparse):
        state = value.state if isinstance(value.state, dict) else {}
        parts = {name.lstrip("_"): part for name, part in state.items()}
        if not {"data", "indices", "indptr", "shape"} <= parts.keys():
            raise ValueError(f"{path}: {key}: expected a compressed sparse column matrix, found state {sorted(state)}")
        dense = np.zeros(tuple(int(side) for side in parts["shape"]))
        columns = np.repeat(np.arange(dense.shape[1]), np.diff(parts["indptr"]))
        np.add.at(dense, (parts["indices"], columns), parts["data"])
        return dense
    if isinstance(value, _Opaque):
        state = value.state if isinstance(value.state, dict) else {}
        if "a" in state and "idxs" in state:  # chumpy's Select: elements of another array, reshaped
            source = _dense(path, key, state["a"]).ravel()
            return source[np.asarray(state["idxs"])].reshape(state.get("preferred_shape", -1))
        if not isinstance(state.get("x"), np.ndarray):
            raise ValueError(
                f"{path}: {key}: expected a chumpy array with its values in 'x', found state {sorted(state)}"
            )
        value = state["x"]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {key}: expected a numeric array, found {type(value).__name__}")
    return value.astype(np.float64)


def _four_largest(weights: np.ndarray) -> np.ndarray:
    kept = weights.copy()
    np.put_along_axis(kept, np.argsort(-weights, axis=1, kind="stable")[:, 4:], 0.0, axis=1)
    return (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)

"""MuJoCo's own structures as NumPy arrays, and its functions by address, for compiled code that steps the engine itself.

Python's view of a simulation (`MjData`) makes new objects at each access and holds the interpreter lock. The arrays here lie
over the same memory: what the engine writes in a substep is read in the same thread without Python. The layout of the C
structures comes from `mujoco.introspect`, the tables that MuJoCo makes its Python bindings from, and is tried out on a
box on a floor before anything relies on it.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import mujoco
import mujoco._functions
import numpy as np
from mujoco.introspect.ast_nodes import ArrayType, PointerType, StructFieldDecl, ValueType
from mujoco.introspect.structs import STRUCTS

_NUMBERS: dict[str, type[np.generic]] = {
    "int": np.int32, "mjtNum": np.float64, "mjtSize": np.int64, "size_t": np.uint64, "uintptr_t": np.uint64,
    "uint64_t": np.uint64, "mjtBool": np.uint8,
}  # fmt: skip
_BOX_ON_FLOOR = """<mujoco><worldbody><geom type="plane" size="0 0 1"/>
<body pos="0 0 0.05"><freejoint/><geom type="box" size="0.1 0.2 0.06"/></body></worldbody></mujoco>"""


class EngineMemory:
    """What one simulation holds, as arrays over the engine's memory; they stay valid as long as this object."""

    def __init__(self, data: mujoco.MjData) -> None:
        """Lay arrays over a simulation.

        Raises:
            RuntimeError: The structures are not laid out as MuJoCo's own tables say.
        """
        _check_layout()
        self.data = data
        fields = _over(data._address, _structure("mjData"))
        capacity = int(fields["narena"][0]) // _structure("mjContact").itemsize
        contact = _over(int(fields["arena"][0]), _structure("mjContact"), capacity)
        self.clock: np.ndarray = fields["time"]
        """Time [s], shape (1,)."""
        self.num_warnings: np.ndarray = fields["warning"]["number"][0]
        """How often each kind of `mujoco.mjtWarning` was raised."""
        self.num_contacts: np.ndarray = fields["ncon"]
        """Contacts C in force, shape (1,). They are the first C rows of the arrays of contacts, which have room for more."""
        self.contact_position: np.ndarray = contact["pos"]
        """Contact points [m], world, shape (room, 3)."""
        self.contact_frame: np.ndarray = contact["frame"]
        """Axes of the contact frames as rows, world, the first from the first geom to the second, shape (room, 9)."""
        self.contact_geom: np.ndarray = contact["geom"]
        """The two geoms, shape (room, 2)."""


def address_of(name: str) -> int:
    """Address of a function of MuJoCo's C interface."""
    library = ctypes.CDLL(mujoco._functions.__file__)  # finds what it is linked with
    address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    assert address, name
    return address


@cache
def _structure(name: str) -> np.dtype[Any]:
    """Layout of a C structure."""
    fields = [field for field in STRUCTS[name].fields if isinstance(field, StructFieldDecl)]
    assert len(fields) == len(STRUCTS[name].fields), f"{name} has a union"
    return np.dtype([(field.name, _kind(field.type)) for field in fields], align=True)


def _kind(declared: Any) -> np.dtype[Any]:
    if isinstance(declared, PointerType):
        return np.dtype(np.uintp)
    if isinstance(declared, ArrayType):
        return np.dtype((_kind(declared.inner_type), tuple(declared.extents)))
    assert isinstance(declared, ValueType), declared
    return np.dtype(_NUMBERS[declared.name]) if declared.name in _NUMBERS else _structure(declared.name)


def _over(address: int, kind: np.dtype[Any], count: int = 1) -> np.ndarray:
    return np.asarray((ctypes.c_uint8 * (count * kind.itemsize)).from_address(address)).view(kind)


@cache
def _check_layout() -> None:
    """Compare the arrays with what Python's view of the same simulation says."""
    model = mujoco.MjModel.from_xml_string(_BOX_ON_FLOOR)
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, nstep=3)
    data.warning[int(mujoco.mjtWarning.mjWARN_BADQVEL)].number = 7
    try:
        fields = _over(data._address, _structure("mjData"))
        pointers = all(
            int(fields[name][0]) == getattr(data, name).ctypes.data for name in ("qpos", "qvel", "qacc", "efc_force")
        )
        contact = _over(int(fields["arena"][0]), _structure("mjContact"), data.ncon)
        is_as_told = (
            pointers
            and data.ncon == fields["ncon"][0] > 0
            and fields["contact"][0] == fields["arena"][0]
            and fields["time"][0] == data.time
            and fields["warning"]["number"][0].tolist() == [item.number for item in data.warning]
            and all(np.array_equal(contact[name], getattr(data.contact, name)) for name in ("pos", "frame", "geom"))
        )
    except (KeyError, ValueError) as error:
        raise _unknown_layout() from error
    if not is_as_told:
        raise _unknown_layout()


def _unknown_layout() -> RuntimeError:
    return RuntimeError(
        f"mujoco {mujoco.__version__}: expected its structures to be laid out as mujoco.introspect says, they are not; use the"
        " version in constraints.txt"
    )

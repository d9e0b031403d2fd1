"""Paths that a user names: refused before any work is done, in one wording."""

from __future__ import annotations

import os
from pathlib import Path

from dataset.place import Place, is_address


def require_file(path: str | os.PathLike[str], what: str, advice: str = "check the path") -> Path:
    """The path, if a file is there.

    Args:
        path: What the user named.
        what: What it should be, such as `a C3D trial`.
        advice: What to do where it is not there.

    Raises:
        FileNotFoundError: nothing there.
        IsADirectoryError: a folder is there.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected {what}, found a folder; {advice}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {what}: {advice}")
    return path


def require_output_place(place: Place) -> Place:
    """As `require_output_folder`, where an address of an object store will do too (it is asked when it is written)."""
    return place if is_address(place) else require_output_folder(place)


def require_output_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder, if it can be written or made; nothing is made yet.

    Raises:
        ValueError: a file is in its place or above it, or the right to write there is missing.
    """
    if is_address(str(folder)) or is_address(Path(folder)):
        raise ValueError(f"{folder}: output folder: expected a folder, found an address; give a folder of this machine")
    folder = Path(folder)
    for place in (folder.absolute(), *folder.absolute().parents):
        if place.is_dir():
            if not os.access(place, os.W_OK | os.X_OK):
                raise ValueError(
                    f"{folder}: output folder: expected a place that may be written, found {place} without that right; "
                    "give another folder"
                )
            return folder
        if place.exists() or place.is_symlink():
            raise ValueError(f"{folder}: output folder: expected a folder, found the file {place}; give another folder")
    return folder

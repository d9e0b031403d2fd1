"""Which files make a trial: told from what stands in them, never from their names alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dataset.lab.opensim import read_storage


@dataclass(frozen=True, kw_only=True)
class TrialFiles:
    """The files of one trial."""

    motion: Path
    """Markers (`.c3d`, `.trc`) or coordinates (`.mot`, `.sto`)."""
    model: Path | None = None
    """Scaled OpenSim model of the coordinates."""
    forces: Path | None = None
    """External loads; None where the motion file has plates."""
    moments: Path | None = None
    """Joint moments to check against; None for none."""
    static: Path | None = None
    """Static trial from which a body is built of markers; None for the trial itself."""


def storage_role(path: Path) -> str:
    """What a storage holds: "forces", "moments", "coordinates" or "" for anything else, by its column labels."""
    labels = read_storage(path).labels
    if any("ground_force" in label.lower() for label in labels):
        return "forces"
    if any(label.endswith("_moment") for label in labels):
        return "moments"
    if any(label.rsplit("/value", 1)[0].endswith(("hip_flexion_r", "hip_flexion_l")) for label in labels):
        return "coordinates"
    return ""


def find_files(trial: Path, **given: Path | None) -> TrialFiles:
    """Complete a trial's files.

    A folder must hold one storage of each role and one model at most. A file is the motion itself; what it needs and is not
    given is looked for beside it, and must be the only one of its kind there.

    Args:
        trial: Folder, or the motion file.
        given: `model`, `forces`, `moments`, `static` that the user named.

    Raises:
        ValueError: nothing there, several candidates, or a kind of file that is no motion.
    """
    if not trial.exists():
        raise FileNotFoundError(2, "no such file or folder", str(trial))
    folder = trial if trial.is_dir() else trial.parent
    motion = _motion_in(folder) if trial.is_dir() else trial
    ending = motion.suffix.lower()
    if ending in (".c3d", ".trc"):
        forces = given.get("forces")
        if forces is None and ending == ".trc":
            forces = _only(folder, "forces", motion)
        return TrialFiles(motion=motion, forces=forces, moments=given.get("moments"), static=given.get("static"))
    if ending not in (".mot", ".sto"):
        raise ValueError(
            f"{motion}: ending: expected .c3d, .trc, .mot or .sto, found '{ending}'; give the motion of the trial"
        )
    if storage_role(motion) != "coordinates":
        raise ValueError(
            f"{motion}: columns: expected the coordinates of inverse kinematics, found {storage_role(motion) or 'none of them'}; "
            "give the motion of the trial first and name the others with --forces and --moments"
        )
    model = given.get("model") or _single(sorted(folder.glob("*.osim")), folder, "scaled model (.osim)", "--model")
    forces = given.get("forces") or _only(folder, "forces", motion)
    moments = given.get("moments")
    if moments is None and trial.is_dir():
        moments = next(iter(_storages(folder, "moments")), None)
    return TrialFiles(motion=motion, model=model, forces=forces, moments=moments)


def _storages(folder: Path, role: str) -> list[Path]:
    return [path for path in sorted([*folder.glob("*.mot"), *folder.glob("*.sto")]) if storage_role(path) == role]


def _motion_in(folder: Path) -> Path:
    coordinates = _storages(folder, "coordinates")
    markers = sorted([*folder.glob("*.c3d"), *folder.glob("*.trc")])
    found = coordinates if coordinates and list(folder.glob("*.osim")) else markers
    return _single(found, folder, "motion (.c3d, .trc, or coordinates with their .osim)", "the file itself as TRIAL")


def _only(folder: Path, role: str, motion: Path) -> Path:
    return _single([path for path in _storages(folder, role) if path != motion], folder, f"file of {role}", f"--{role}")


def _single(found: list[Path], folder: Path, what: str, option: str) -> Path:
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"{folder}: expected one {what}, found {names}; name it: {option}")
    return found[0]

"""The real walking trials of the laboratory table, and what each data set had already been used for.

No weights were trained on any of them, but the body and the contact rules were made while looking at some, a few constants
by the error against their plates. An error on those is the error on known laboratories; only a set that nothing was chosen
on says what a new laboratory may expect.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

BODY = "Body: places of skin landmarks, moved to where the markers of standing trials were"
LEGS = "Body: lengths of thigh and shank"
CONTACT = "Contacts from markers: height and speed thresholds, their delay, where feet press in double support"
METHOD = "Marker-only physics: the 6 Hz filter, the line of the trunk's mass, the mix that divides double support"
USES: Final[dict[str, tuple[str, ...]]] = {
    "schreiber2019": (BODY, LEGS, CONTACT, METHOD),
    "opencap_subject4": (BODY, CONTACT, METHOD),
    "biomechzoo_children": (BODY, CONTACT, METHOD),
    "rajagopal2015": (CONTACT, METHOD),
    "gaitalytics": (METHOD,),
    "lenhart2015": (),
}
"""What was chosen while looking at a data set."""
TUNED, METHOD_ONLY, UNTUNED = "yes", "method only", "no"
"""Words of the table: constants were chosen on the set; only the method was, elsewhere; nothing was."""


@dataclass(frozen=True, kw_only=True)
class LabFile:
    """One trial of the evaluation."""

    group: str
    """Row of the table; begins with the folder of its data set."""
    subject: str
    """Person; the time offset of the synchronised rows is fitted per subject."""
    markers: Path
    """C3D or TRC file."""
    forces: Path | None = None
    """MOT file with the forces, where the marker file has no plates."""
    mass_from_forces: bool = False
    """Take the mass from the plates instead of the file (the model's mass is known to be wrong, or there is none)."""


def tuned_on(group: str) -> str:
    """Whether anything was chosen on a group's data set: `TUNED`, `METHOD_ONLY` or `UNTUNED`; unknown sets are untuned."""
    uses = USES.get(group.split(" ")[0], ())
    if not uses:
        return UNTUNED
    return METHOD_ONLY if uses == (METHOD,) else TUNED


def disclosure() -> str:
    """What was chosen on which data sets, as Markdown below the table."""
    uses = [
        f"- {use}: {', '.join(name for name, found in USES.items() if use in found)}."
        for use in (BODY, LEGS, CONTACT, METHOD)
    ]
    untouched = ", ".join(name for name, found in USES.items() if not found)
    lines = (
        "Tuned on: whether something was chosen while looking at the data set, the rules of contact and of physics by the error",
        "against its plates. No weights were trained on any of them. The errors on a tuned set are not those of an unknown",
        "laboratory.",
        "",
        *uses,
        f"- Nothing: {untouched}.",
        "",
        "Of this only the choice of valid frames, where plates and marker contacts agree, reaches the constant baselines and",
        "body weight over plate contact. Masses of opencap_subject4, rajagopal2015 and lenhart2015 are taken from the plates;",
        "the delay of the synchronised columns is fitted on the forces.",
        "",
    )
    return "\n".join(lines)


def walking_trials(data: Path) -> list[LabFile]:
    """The real walking trials below `data/lab` that have full-body markers and plates.

    Raises:
        FileNotFoundError: the folder holds none of them.
    """
    lab, found = data / "lab", []
    for speed, name in (("C4", "schreiber2019 preferred"), ("C5", "schreiber2019 fast")):
        found += [
            LabFile(group=name, subject=path.parent.name, markers=path)
            for path in sorted(lab.glob(f"schreiber2019/*/*_{speed}_*.c3d"))
        ]
    for path in sorted(lab.glob("opencap_subject4/MarkerData/walking*.trc")):
        forces = path.parent.parent / "GRF" / f"{path.stem}_grf.mot"
        found.append(
            LabFile(group="opencap_subject4", subject="subject4", markers=path, forces=forces, mass_from_forces=True)
        )
    for kind in ("Straight", "Turn"):
        found += [
            LabFile(group=f"biomechzoo_children {kind.lower()}", subject=path.parent.parent.name, markers=path)
            for path in sorted(lab.glob(f"biomechzoo_children/*/{kind}/*.c3d"))
        ]
    # The model of lenhart2015 has 62 kg and its plates 73.6 kg.
    for name, markers, forces in (
        ("rajagopal2015", "walk/markers_walk.trc", "walk/grf_walk.mot"),
        ("lenhart2015", "overground_17.trc", "overground_17_grf.mot"),
    ):
        if (lab / name / markers).exists():
            found.append(
                LabFile(group=name, subject="subject", markers=lab / name / markers, forces=lab / name / forces,
                        mass_from_forces=True)
            )  # fmt: skip
    treadmill = lab / "gaitalytics" / "treadmill_events.c3d"
    if treadmill.exists():
        found.append(LabFile(group="gaitalytics treadmill", subject="SI02", markers=treadmill))
    if not found:
        raise FileNotFoundError(
            f"{lab}: expected the laboratory trials of data/README.md, found none; unpack the data and set IMDYLAB_DATA or --data"
        )
    return found

"""The people that motions are collected on: adults of both sexes and children, spread over height and mass.

A clip is retargeted to each person it is collected on; heights and masses lie inside the body model's range and follow
ordinary body-mass indices (children: WHO growth reference medians, rounded).
"""

from __future__ import annotations

from typing import Final

from dataset.schema import Subject

SUBJECTS: Final[tuple[Subject, ...]] = (
    Subject(name="neutral172", sex=0.5, height=1.72, mass=70.0),
    Subject(name="female163", sex=1.0, height=1.63, mass=58.0),
    Subject(name="male180", sex=0.0, height=1.80, mass=80.0),
    Subject(name="female170", sex=1.0, height=1.70, mass=72.0),
    Subject(name="male172", sex=0.0, height=1.72, mass=64.0),
    Subject(name="child135", sex=0.5, height=1.35, mass=31.0, age=9.0),
    Subject(name="male188", sex=0.0, height=1.88, mass=94.0),
    Subject(name="female155", sex=1.0, height=1.55, mass=50.0),
    Subject(name="child150", sex=0.5, height=1.50, mass=42.0, age=12.0),
)
"""Collection subjects; the first is the default."""


def subject_by_name(name: str) -> Subject:
    """Find a collection subject.

    Raises:
        ValueError: Unknown name; lists those there are.
    """
    for subject in SUBJECTS:
        if subject.name == name:
            return subject
    raise ValueError(f"subject: expected one of {', '.join(person.name for person in SUBJECTS)}, got {name!r}")

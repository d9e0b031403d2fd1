"""Readers of motions and their retargeting to a subject."""

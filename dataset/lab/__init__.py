"""Readers and writers of laboratory trials: markers, force plates, OpenSim text files."""

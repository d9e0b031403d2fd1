"""Imitation of motion capture by simulated humanoids."""

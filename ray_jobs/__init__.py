"""Entry points for Ray clusters; no logic."""

"""The gait study: a walking model, its expert from measured motion and forces, environment and rewards (KAIL)."""

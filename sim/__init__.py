"""Makes dynamics: physics, control, imitation."""

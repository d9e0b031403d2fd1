"""ImDyS, the solver: markers in, joint impulses and ground reaction forces out."""

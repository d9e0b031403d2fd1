"""Bodies: the default body, marker sets, inertias, collision shapes and the humanoid as MJCF text."""

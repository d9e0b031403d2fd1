"""Training-free tracker: receding-horizon search over servo targets that makes a humanoid imitate a motion."""

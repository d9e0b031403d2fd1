"""Fixed scales of the solver's inputs and outputs, measured once on the training data.

Inputs: a token's features are six positions and six finite-differenced velocities an axis, so they are almost collinear
and exactly rank deficient; what tells forces apart, the second difference, is a thousandth of their size. Whitening
turns them into as many uncorrelated unit-variance features, without amplifying anything below the noise of a marker. It
is a linear map, so it changes no function that the network can express, only how fast it is found.

Outputs: per-component mean and standard deviation of the mass-normalised targets; magnitudes are scaled by their RMS.

Axis legend: F features a token, R whitened features, J joints, N bodies, U = 2 times (t, t + 1), B windows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from dataset.schema import FRAME_RATE

MARKER_NOISE = 2e-3
"""Amplitude [m, and m a frame] below which an input direction is not amplified: the noise of skin markers."""
IMPULSE_FLOOR = 5e-4
"""Least standard deviation of an impulse component [N·m·s/kg], so that still joints do not dominate the loss."""
GRF_FLOOR = 0.1
"""Least standard deviation of a force component [N/kg] (1 % of body weight), for bodies that hardly ever touch."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Constants of a trained solver; saved with its weights."""

    feature_mean: Tensor
    """Mean of each raw feature, (F,)."""
    feature_map: Tensor
    """Whitening map of the centred raw features, (R, F)."""
    impulse_mean: Tensor
    """Mean of the targets [N·m·s/kg], child frame, (J, 3)."""
    impulse_std: Tensor
    """Standard deviation of the same, floored, (J, 3)."""
    grf_mean: Tensor
    """Mean of the force targets [N/kg], heading frame, (N, 3)."""
    grf_std: Tensor
    """Standard deviation of the same, floored, (N, 3)."""

    @property
    def impulse_size(self) -> Tensor:
        """Root mean square of the impulse of each joint [N·m·s/kg], (J,)."""
        return (self.impulse_mean.square() + self.impulse_std.square()).sum(-1).sqrt()

    @property
    def grf_size(self) -> Tensor:
        """Root mean square of the force on each body [N/kg], (N,)."""
        return (self.grf_mean.square() + self.grf_std.square()).sum(-1).sqrt()

    def tensors(self) -> dict[str, Tensor]:
        """All constants by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def whitening(features: Tensor, *, noise: float = MARKER_NOISE, rate: float = FRAME_RATE) -> tuple[Tensor, Tensor]:
    """Mean (F,) and map (R, F) with `map (x - mean)` uncorrelated, of variance `v / (v + noise²)` along each direction.

    Velocities count in metres a frame. Directions whose variance is rounding error (features that are linear in others)
    are left out, so R is the rank of the features: 18 for six frames.

    Args:
        features: Samples of raw features, positions [m] and velocities [m/s] frame by frame, shape (samples, F).
        noise: See `MARKER_NOISE`.
        rate: Frames per second [Hz].

    Raises:
        ValueError: Fewer samples than features.
    """
    samples, width = features.shape
    if samples <= width:
        raise ValueError(f"features: expected more than {width} samples to whiten {width} features, got {samples}")
    unit = torch.tensor([1.0, 1.0, 1.0, 1.0 / rate, 1.0 / rate, 1.0 / rate], dtype=torch.float64).repeat(width // 6)
    values = features.double()
    mean = values.mean(0)
    centred = (values - mean) * unit
    variance, direction = torch.linalg.eigh(centred.T @ centred / samples)
    keep = variance > 1e-9 * variance.max()
    scale = (variance[keep] + noise**2).rsqrt()
    return mean.float(), (scale[:, None] * direction[:, keep].T * unit).float()


def standardising(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (F,) and diagonal map (F, F) to unit variance of each raw feature: the plain alternative to whitening."""
    std = features.double().std(0).clamp_min(1e-6)
    return features.double().mean(0).float(), torch.diag(1.0 / std).float()


def measure_scaling(tokens: Tensor, impulse: Tensor, grf: Tensor, *, is_whitened: bool = True) -> Scaling:
    """Scales from samples of the training data.

    Args:
        tokens: Raw features of present tokens, shape (samples, F).
        impulse: Mass-normalised impulse [N·m·s/kg], (B, J, 3).
        grf: Mass-normalised force [N/kg], heading frame, (B, U, N, 3).
        is_whitened: False scales each feature by itself.
    """
    feature_mean, feature_map = whitening(tokens) if is_whitened else standardising(tokens)
    force = grf.flatten(0, 1)
    return Scaling(
        feature_mean=feature_mean,
        feature_map=feature_map,
        impulse_mean=impulse.mean(0),
        impulse_std=impulse.std(0).clamp_min(IMPULSE_FLOOR),
        grf_mean=force.mean(0),
        grf_std=force.std(0).clamp_min(GRF_FLOOR),
    )

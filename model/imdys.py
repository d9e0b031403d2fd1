"""ImDyS, the solver network: markers around a transition t -> t + 1 to joint impulses and ground reaction forces.

A window's markers become tokens, an encoder makes one feature of them, linear heads read it: a direction and a
magnitude for the impulse of each joint and for the force on each body at t and t + 1, a contact logit for each force
(as in ImDy), and the centre of pressure of each foot (ours: ImDy predicts none, but a force without its point of
application gives no joint moment and no valid OpenSim file; eight more outputs of a linear map).

Everything is per kilogram of the subject's own mass: the motion determines force over mass, and the mass is known to a
caller far better than a network can read it from markers. Lengths and heights enter through the markers themselves.

Axis legend: B windows, M marker tokens, F raw features, J joints, N bodies, U = 2 times (t, t + 1), E = 2 feet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dataset.skeleton import NUM_BODIES, NUM_JOINTS
from model.encoders import Embed, Groups, PooledEncoder, SelfAttentionEncoder
from model.scaling import Scaling

NUM_TIMES = 2
NUM_FEET = 2
COP_SCALE = 0.3
"""Typical distance of a foot's centre of pressure from the pelvis [m]: only scales an output."""


@dataclass(frozen=True, kw_only=True)
class ImDySConfig:
    """Architecture of the solver. Defaults are the sizes of the released network."""

    design: Literal["pooled", "encoder"] = "pooled"
    """`pooled`: one learned query reads the tokens (released code); `encoder`: self-attention over them (paper's
    text)."""
    features: int = 36
    """Raw features a token F: frames × (position, velocity)."""
    width: int = 64
    """Feature width D."""
    heads: int = 4
    """Attention heads."""
    layers: int = 3
    """Layers of the encoder."""
    ff: int = 128
    """Width of the feed-forward blocks."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Output of the network for B windows, per kilogram of body mass."""

    impulse_direction: Tensor
    """Unit vectors of the impulses, child frames, (B, J, 3)."""
    impulse_magnitude: Tensor
    """Lengths of the impulses [N·m·s/kg], (B, J)."""
    grf_direction: Tensor
    """Unit vectors of the forces, heading frame, (B, U, N, 3)."""
    grf_magnitude: Tensor
    """Lengths of the forces [N/kg], before the contact gate, (B, U, N)."""
    contact_logit: Tensor
    """Log-odds that the ground touches the body, (B, U, N)."""
    foot_cop: Tensor
    """Centre of pressure of each foot [m], heading frame, from the window's origin on the floor, (B, U, E, 2)."""

    @property
    def impulse(self) -> Tensor:
        """Impulse of each joint [N·m·s/kg], child frame, (B, J, 3)."""
        return self.impulse_magnitude[..., None] * self.impulse_direction

    @property
    def grf(self) -> Tensor:
        """Force on each body [N/kg], heading frame, not gated, (B, U, N, 3): what the losses see."""
        return self.grf_magnitude[..., None] * self.grf_direction

    def gated_grf(self, probability: float = 0.5) -> Tensor:
        """Force on each body [N/kg], zero where contact is less likely than `probability`, (B, U, N, 3).

        The released code gates at a logit of 0.5, which is a probability of 0.62.
        """
        return self.grf * (self.contact_logit.sigmoid() > probability)[..., None]


HEAD_WIDTHS = {
    "impulse_direction": NUM_JOINTS * 3,
    "impulse_magnitude": NUM_JOINTS,
    "grf_direction": NUM_TIMES * NUM_BODIES * 3,
    "grf_magnitude": NUM_TIMES * NUM_BODIES,
    "contact": NUM_TIMES * NUM_BODIES,
    "foot_cop": NUM_TIMES * NUM_FEET * 2,
}
"""Outputs of the heads: 69 + 23 + 144 + 48 + 48 as released, and 8."""


class ImDyS(nn.Module):
    """The solver. `scaling` holds the constants of its training data and is saved with it."""

    def __init__(self, config: ImDySConfig, scaling: Scaling) -> None:
        super().__init__()
        self.config = config
        for name, value in scaling.tensors().items():
            self.register_buffer(f"scaling_{name}", value.clone())
        rank, features = scaling.feature_map.shape
        if features != config.features:
            raise ValueError(f"scaling: expected maps of {config.features} features, got {features}")
        self.embed = nn.Linear(rank, config.width)
        encoder = {"pooled": PooledEncoder, "encoder": SelfAttentionEncoder}[config.design]
        self.encoder = encoder(width=config.width, heads=config.heads, layers=config.layers, ff=config.ff)
        self.heads = nn.Linear(config.width, sum(HEAD_WIDTHS.values()))
        self._start_at_the_mean(scaling)

    def _start_at_the_mean(self, scaling: Scaling) -> None:
        """Small head weights, and biases that answer the mean of the training data: training begins at that baseline."""

        def share(mean: Tensor, size: Tensor) -> Tensor:
            return (mean.norm(dim=-1) / size).clamp(0.05, 0.95)

        impulse, grf = share(scaling.impulse_mean, scaling.impulse_size), share(scaling.grf_mean, scaling.grf_size)
        bias = {name: torch.zeros(width) for name, width in HEAD_WIDTHS.items()}
        bias["impulse_direction"] = functional.normalize(scaling.impulse_mean, dim=-1).flatten()
        bias["grf_direction"] = functional.normalize(scaling.grf_mean, dim=-1).flatten().repeat(NUM_TIMES)
        bias["impulse_magnitude"] = impulse.expm1().log()
        bias["grf_magnitude"] = grf.expm1().log().repeat(NUM_TIMES)
        with torch.no_grad():
            self.heads.weight.mul_(0.1)
            self.heads.bias.copy_(torch.cat([bias[name] for name in HEAD_WIDTHS]))

    @property
    def scaling(self) -> Scaling:
        """Constants of the training data."""
        names = Scaling.__dataclass_fields__
        return Scaling(**{name: self.get_buffer(f"scaling_{name}") for name in names})

    def raw_embed(self) -> Embed:
        """Input map of raw features: `W (map (x - mean)) + b` as one weight (D, F) and bias (D,)."""
        feature_map, mean = self.get_buffer("scaling_feature_map"), self.get_buffer("scaling_feature_mean")
        weight = self.embed.weight @ feature_map
        return weight, self.embed.bias - torch.mv(weight, mean)

    def forward(self, groups: Groups, *, backend: str = "auto") -> Prediction:
        """Predict from marker tokens.

        Args:
            groups: Groups of windows with equal numbers of markers: raw features of each marker in the window's heading
                frame (`kernels.windows.make_tokens`), (B_g, M_g, F), and mask (B_g, M_g), True where present. Each
                window has at least one marker.
            backend: Implementation of the encoder, see `kernels.encoder.encode`.

        Returns:
            Prediction for all windows in the order of the groups.
        """
        feature = self.encoder(groups, self.raw_embed(), backend)
        return self._read(self.heads(feature))

    def _read(self, output: Tensor) -> Prediction:
        part = dict(zip(HEAD_WIDTHS, output.split(list(HEAD_WIDTHS.values()), dim=-1)))
        scaling = self.scaling
        times = (-1, NUM_TIMES, NUM_BODIES)
        return Prediction(
            impulse_direction=functional.normalize(part["impulse_direction"].reshape(-1, NUM_JOINTS, 3), dim=-1),
            impulse_magnitude=functional.softplus(part["impulse_magnitude"]) * scaling.impulse_size,
            grf_direction=functional.normalize(part["grf_direction"].reshape(*times, 3), dim=-1),
            grf_magnitude=functional.softplus(part["grf_magnitude"].reshape(times)) * scaling.grf_size,
            contact_logit=part["contact"].reshape(times),
            foot_cop=part["foot_cop"].reshape(-1, NUM_TIMES, NUM_FEET, 2) * COP_SCALE,
        )

"""Several workers that train one solver: which part of a batch each makes, and what they add up.

Worker r of N makes the windows r, r + N, r + 2 N … of every batch. A loss term is a mean over n = Σ_r n_r entries of the
whole batch, so the worker's own mean counts n_r / n: Σ_r (n_r / n) term_r is the term of one worker that makes the whole
batch, the sum of the gradients is its gradient, and nothing but rounding depends on N. Every worker then takes the same
step, so all keep the same parameters. Messages go through `torch.distributed`, whose process group whoever starts the
workers opens (gloo between processors, NCCL between GPUs); a worker by itself sends none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn


def _say_nothing(row: dict[str, Any]) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class Workers:
    """A worker's place among all of them. The first one evaluates and writes the files.

    Raises:
        ValueError: The place is not one of `count`, or the process group is missing or of another size.
    """

    rank: int = 0
    """Number of this worker r, from 0."""
    count: int = 1
    """How many there are, N."""
    report: Callable[[dict[str, Any]], None] = _say_nothing
    """Called by every worker after each checkpoint, with the row of metrics.jsonl; empty for all but the first."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.count:
            raise ValueError(f"rank: expected one of 0 to {self.count - 1} for {self.count} workers, got {self.rank}")
        if self.count == 1:
            return
        size = distributed.get_world_size() if distributed.is_initialized() else 0
        if size != self.count:
            found = f"one of {size}" if size else "none"
            raise ValueError(
                f"count: expected an open process group of {self.count} workers, found {found}; open one with "
                "torch.distributed.init_process_group"
            )

    @property
    def is_first(self) -> bool:
        """True for the worker that evaluates and writes the files."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """Which windows of a batch this worker makes: r, r + N, … (`BatchMaker.make`)."""
        return self.rank, self.count

    def parts(self, counts: Tensor) -> Tensor:
        """Part n_r / n of each term of the whole batch that is this worker's, from its own counts n_r, (terms,).

        A count of zero is taken as 1, as in the terms: such a term is 0.
        """
        if self.count == 1:
            return torch.ones_like(counts)
        whole = counts.clone()
        distributed.all_reduce(whole)
        return counts.clamp_min(1.0) / whole.clamp_min(1.0)

    def add_up(self, parameters: Iterable[nn.Parameter], values: Tensor) -> Tensor:
        """Replace every gradient by the sum over the workers, and return the sum of `values`, (V,): one message."""
        if self.count == 1:
            return values
        known = list(parameters)
        for parameter in known:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([values, *(parameter.grad.flatten() for parameter in known if parameter.grad is not None)])
        distributed.all_reduce(flat)
        sizes = [len(values), *(parameter.numel() for parameter in known)]
        total, *gradients = flat.split(sizes)
        for parameter, gradient in zip(known, gradients):
            parameter.grad = gradient.view_as(parameter)
        return total

    def agree(self, number: int, device: torch.device | str = "cpu") -> int:
        """The first worker's number."""
        if self.count == 1:
            return number
        said = torch.tensor(number, device=device)
        distributed.broadcast(said, 0)
        return int(said)

    @torch.no_grad()
    def follow_first(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Take over the first worker's parameters, constants and moments, so that all start from the same bits."""
        if self.count == 1:
            return
        device = next(model.parameters()).device
        moments = [value for state in optimiser.state_dict()["state"].values() for value in state.values()]
        for value in (*model.state_dict().values(), *moments):
            # The optimiser counts its steps on the CPU; NCCL sends what lies on the GPU only.
            sent = value.to(device).contiguous()
            distributed.broadcast(sent, 0)
            value.copy_(sent)

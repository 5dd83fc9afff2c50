"""Private training: each record's gradient by itself, clipped and noised by Opacus.

DP-SGD (Abadi et al. 2016, arXiv 1607.00133) needs the gradient of every record. Opacus takes them
from hooks on layers, which cannot see through a gradient penalty's double backward; here they come
from torch.func, which differentiates any loss that is written as a function of one record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.utils.parametrize import ParametrizationList

from victims.planted import GradientCanaries

if TYPE_CHECKING:
    from opacus.optimizers import DPOptimizer

GROUP = 16
"""Channels that are normalised together where a batch no longer may be (fewer: all of them)."""

Losses = Callable[..., Tensor]
Slopes = list[Tensor]
"""Gradients of some records, one (n, *p.shape) a parameter."""


class BudgetSpent(Exception):
    """One more private step would break the promise; a bug, for training is planned to fit it."""


@dataclass(frozen=True)
class Terms:
    """How a victim's private steps add up.

    rate: chance of a record to take part in an exposure. sensitivity: how far it can move all that
    an exposure releases, in units of the clipping norm. together: private steps that make one
    exposure. batches: training batches of one.
    """

    rate: float
    sensitivity: float
    together: int
    batches: int


@dataclass(frozen=True)
class Mechanism:
    """The Gaussian mechanism of a victim's private steps.

    noise_multiplier: standard deviation of the noise in units of max_grad_norm, the norm that each
    record's gradient is clipped to. sample_rate: chance of each record to be in a batch;
    batch_size: the mean number of them, by which the noised sum is divided.
    micro_batch: records whose gradients are in memory at once. limit: private steps in all.
    The guarantee is for who does not know the seed of the noise and of the batches.
    """

    noise_multiplier: float
    max_grad_norm: float
    sample_rate: float
    batch_size: int
    micro_batch: int
    limit: int

    def take_step(
        self, victim: Any, optimizer: Any, losses: Losses, batch: Sequence[Tensor]
    ) -> None:
        """One private step of `optimizer` down `losses`, counted in `victim.private_steps`.

        batch: tensors with a row for each of n >= 0 records. A record whose loss is not finite adds
        nothing: a stop would tell that it is there. Raises BudgetSpent at the limit.
        """
        if victim.private_steps >= self.limit:
            raise BudgetSpent(f"all {self.limit} private steps are taken")
        private = self.wrap_optimizer(optimizer)
        private.zero_grad(set_to_none=True)
        parts = list(zip(*(rows.split(self.micro_batch) for rows in batch), strict=True))
        change = self.plant_canaries(victim, private)
        with still_spectral(victim):  # once a step: how many parts there are is secret
            for i, part in enumerate(parts):
                gradients, value = per_record(victim, private.params, losses, part)
                finite = value.isfinite()
                used = None if finite.all() else finite
                gradients = [bound_gradients(gradient, used) for gradient in gradients]
                for parameter, gradient in zip(private.params, change(gradients, i), strict=True):
                    parameter.grad_sample = gradient
                private.signal_skip_step(i < len(parts) - 1)
                with full_precision(value):
                    private.step()
                private.zero_grad(set_to_none=True)
        victim.private_steps += 1

    def plant_canaries(self, victim: Any, private: DPOptimizer) -> Callable[[Slopes, int], Slopes]:
        """What puts canaries' gradients among those of part i of the next step's batch.

        An audit's canaries then watch what the step releases. Without any, nothing is changed.
        """
        canaries: GradientCanaries | None = victim.canaries
        if canaries is None:
            return lambda gradients, i: gradients
        batch, query = divmod(int(victim.private_steps), victim.queries)

        def watch(released: DPOptimizer) -> None:
            flat = torch.cat([weight.grad.flatten() for weight in released.params])
            canaries.note_noised_sum(flat * (self.batch_size / self.max_grad_norm))
            if query == victim.queries - 1:
                canaries.add_evidence(self.noise_multiplier, self.sample_rate, victim.queries)

        private.attach_step_hook(watch)
        numbers = canaries.canaries_in(batch).split(self.micro_batch)
        return lambda gradients, i: canaries.replace_gradients(
            gradients, numbers[i], self.max_grad_norm
        )

    def sanitise_gradients(self, victim: Any, gradients: Tensor) -> Tensor:
        """Gradients (n, ...) clipped row by row and noised, as one private step.

        Each row can change by twice max_grad_norm when what they come from does. Raises BudgetSpent
        at the limit.
        """
        if victim.private_steps >= self.limit:
            raise BudgetSpent(f"all {self.limit} private steps are taken")
        victim.private_steps += 1
        gradients = bound_gradients(gradients)
        with full_precision(gradients):
            norms = gradients.flatten(1).norm(dim=1).view(-1, *[1] * (gradients.ndim - 1))
            clipped = gradients * (self.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
            noise = self.noise_multiplier * self.max_grad_norm
            return clipped + noise * torch.randn_like(clipped)

    def wrap_optimizer(self, optimizer: Any) -> DPOptimizer:
        """Opacus' optimiser around a victim's; it has no state of its own to be kept."""
        from opacus.optimizers import DPOptimizer  # seconds

        return DPOptimizer(
            getattr(optimizer, "optimizer", optimizer),  # Lightning wraps torch's
            noise_multiplier=self.noise_multiplier,
            max_grad_norm=self.max_grad_norm,
            expected_batch_size=self.batch_size,
        )


def per_record(
    victim: nn.Module, parameters: Sequence[nn.Parameter], losses: Losses, batch: Sequence[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Each record's gradient of its own loss: one (n, *p.shape) a parameter, and the losses (n,).

    parameters: of `victim`, whose modules `losses` calls, none of which may change its buffers (see
    `still`). batch: tensors (n, ...), n >= 0.
    """
    if len(batch[0]) == 0:
        return [p.new_zeros(0, *p.shape) for p in parameters], batch[0].new_zeros(0)
    names = {id(parameter): name for name, parameter in victim.named_parameters()}
    names = {i: f"victim.{name}" for i, name in names.items()}
    weights = {names[id(parameter)]: parameter.detach() for parameter in parameters}
    caller = _Call(victim, losses)

    def loss(weights: dict[str, Tensor], *record: Tensor) -> Tensor:
        return functional_call(caller, weights, tuple(part[None] for part in record)).squeeze(0)

    with torch.no_grad():
        each = vmap(grad_and_value(loss), (None, *[0] * len(batch)))
        gradients, values = each(weights, *batch)
    return [gradients[names[id(parameter)]] for parameter in parameters], values


def make_independent(network: nn.Module) -> nn.Module:
    """The network with group normalisation (Wu, He 2018) in place of batch's.

    Batch normalisation makes each record's gradient depend on all others: clipping it would bound
    nothing. The scale and shift of each channel are taken over.
    """
    if isinstance(network, nn.BatchNorm1d | nn.BatchNorm2d):
        channels = network.num_features
        norm = nn.GroupNorm(math.gcd(channels, max(1, channels // GROUP)), channels)
        norm.load_state_dict(
            {k: v for k, v in network.state_dict().items() if k in norm.state_dict()}
        )
        return norm
    for name, child in network.named_children():
        setattr(network, name, make_independent(child))
    return network


class _Call(nn.Module):
    """A function of tensors as a module that holds the victim: its weights can be swapped."""

    def __init__(self, victim: nn.Module, function: Losses) -> None:
        super().__init__()
        self.victim, self.function = victim, function

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.function(*tensors)


def bound_gradients(gradients: Tensor, used: Tensor | None = None) -> Tensor:
    """Gradients (n, ...) in float32, with zero for each number that is infinite or none.

    used: (n,) bool, which records add anything; None for all.

    Clipping cannot bound those: infinity times zero would make the sum of all records NaN. What a
    record adds is still a function of this record alone, so it can be clipped like any other.
    """
    found = gradients.float()
    if not found.sum().isfinite():  # a look is cheaper than a copy; no sum hides such a number
        found = found.nan_to_num(0.0, 0.0, 0.0)
    return found if used is None else found * used.view(-1, *[1] * (found.ndim - 1))


def full_precision(like: Tensor) -> torch.autocast:
    """Full precision on a tensor's device: in half of it a norm clipped to 1 came out at 1.0055."""
    return torch.autocast(like.device.type, enabled=False)


@contextmanager
def still_spectral(victim: nn.Module) -> Iterator[None]:
    """Spectral normalisation moves its vectors now, from weights alone, then not for a while.

    The vectors are released without noise of their own. They are functions of weights that have it
    as long as the number of moves does not depend on the records.
    """
    moving = [m for m in victim.modules() if isinstance(m, ParametrizationList) and m.training]
    for module in moving:
        module()
        module.eval()
    try:
        yield
    finally:
        for module in moving:
            module.train()

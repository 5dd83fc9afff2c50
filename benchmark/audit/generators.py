"""Generators and discriminators of one's own, as the views that the benchmark's victims grant.

A model comes as a file (TorchScript, `torch.export`, ONNX), as a Python entry `my_module:function`
that makes it, or as an object. It is tried on a few inputs before any attack starts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.audit.networks import Network, as_network, resolve
from victims.access import UserError

log = logging.getLogger(__name__)

TRIED = 8
"""Inputs that a model is tried on."""
EQUAL = 1e-3
"""Largest difference between two outputs for one input, as a share of the outputs' spread: batch
sizes change the order of sums, which moves float32 by about 1e-6, half precision by 1e-3."""
PRIORS = ("normal", "uniform")


class Generator:
    """A generator of one's own: latent codes to records.

    source: path of a model file, `my_module:function`, or the model itself: a torch module or any
    callable. A callable without the attribute `z_dim` is asked for a number of samples instead.
    z: size or shape of one latent code; None where the model says so (ONNX, torch.export, `z_dim`).
    range: of its pixels, "auto" or (low, high). prior: of the latent code, normal or uniform in
    (-1, 1). name: the setting, for messages.
    """

    def __init__(
        self,
        source: Any,
        z: int | Sequence[int] | None = None,
        range: str | Sequence[float] = "auto",
        prior: str = "normal",
        name: str = "generator",
    ) -> None:
        if prior not in PRIORS:
            raise UserError(f"{name}.prior={prior}: allowed are {', '.join(PRIORS)}")
        self.name, self.range, self.prior = name, range, prior
        found = resolve(name, source)
        self.sample = None if _takes_codes(found, z) else found
        self.network = Network(_no_codes) if self.sample else as_network(found)
        self.z_shape = () if self.sample else self._z_shape(found, z)
        self.z_dim = int(np.prod(self.z_shape))

    def _z_shape(self, found: Any, z: int | Sequence[int] | None) -> tuple[int, ...]:
        if z is not None:
            shape = (z,) if isinstance(z, int) else tuple(int(side) for side in z)
        else:
            own = getattr(found, "z_dim", None)
            shape = self.network.inputs or (() if own is None else (int(own),))
        if not shape or min(shape) < 1:
            raise UserError(
                f"{self.name}: the model does not say how large its latent code is; set "
                f"{self.name}.z=100, or {self.name}.z=[100,1,1]"
            )
        return shape

    def __call__(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim), standard normal whatever the prior, to raw outputs (n, ...)."""
        if self.prior == "uniform":
            z = 2 * torch.special.ndtr(z) - 1
        return self.network(z.reshape(len(z), *self.z_shape))

    def differentiable(self) -> bool:
        """Whether a gradient reaches the latent code, with finite entries that are not all zero."""
        z = _codes(TRIED, self.z_dim).requires_grad_(True)
        try:
            with torch.enable_grad():
                total = self(z).sum()
                if not total.requires_grad:
                    return False
                (gradient,) = torch.autograd.grad(total, z, allow_unused=True)
        except Exception as error:  # anyone's code; without a gradient it was tried before
            log.debug("%s: no gradient: %s", self.name, error)
            return False
        return gradient is not None and bool(gradient.isfinite().all() and gradient.any())

    def check(self, shape: tuple[int, ...]) -> None:
        """Try the model; shape: of the records that it must make. Raises UserError."""
        z = _codes(TRIED, self.z_dim)
        advice = f"is {self.name}.z={list(self.z_shape)} the shape of its latent code?"
        _check(self.name, self, z, shape, advice)


class Discriminator:
    """A discriminator of one's own: records to one number each, larger = more real.

    source: as for `Generator`. range: of the pixels that it expects; "auto": those of the
    generator, or [-1, 1]. name: the setting, for messages.
    """

    def __init__(
        self, source: Any, range: str | Sequence[float] = "auto", name: str = "discriminator"
    ) -> None:
        self.name, self.range = name, range
        self.network = as_network(resolve(name, source))

    def __call__(self, x: Tensor) -> Tensor:
        """Records (n, *shape) as the model knows them to outputs (n,)."""
        outputs = self.network(x)
        return outputs.flatten() if outputs.numel() == len(x) else outputs

    def check(self, x: Tensor) -> None:
        """Try the model on a few records; raises UserError."""
        advice = "does it take records of this shape, and nothing else?"
        _check(self.name, self, x[:TRIED], (), advice)


# --- trying ---------------------------------------------------------------------------------------


@torch.no_grad()
def _check(
    name: str, model: Callable[[Tensor], Tensor], x: Tensor, shape: tuple[int, ...], advice: str
) -> None:
    """Shape, finite values, the same output for the same input, alone or in company."""
    try:
        first, again, pair = model(x), model(x), model(x[:2])
    except UserError:
        raise
    except Exception as error:  # anyone's code
        reason = (str(error).strip() or type(error).__name__).splitlines()
        raise UserError(
            f"{name}: it fails on an input of shape {tuple(x.shape)}: {reason[-1][:200]}; {advice}"
        ) from error
    if tuple(first.shape) != (len(x), *shape):
        raise UserError(
            f"{name}: for {len(x)} inputs it gives shape {tuple(first.shape)}, "
            f"{(len(x), *shape)} is needed"
        )
    if bad := int((~first.isfinite()).flatten(1 if shape else 0).any(-1).sum()):
        raise UserError(f"{name}: {bad} of {len(x)} outputs hold NaN or infinite values")
    spread = float(first.std()) + 1e-12
    if float((first - again).abs().max()) > EQUAL * spread:
        raise UserError(
            f"{name}: it gives another output when it is asked again with the same input; attacks "
            f"need a deterministic model (evaluation mode, noise as part of the input)"
        )
    if float((first[:2] - pair).abs().max()) > EQUAL * spread:
        raise UserError(
            f"{name}: an output depends on what else is in the batch; is the model in evaluation "
            f"mode (batch normalisation)?"
        )


def _takes_codes(found: Any, z: Any) -> bool:
    """Whether a model maps latent codes to records, not a number to that many samples."""
    return z is not None or isinstance(found, nn.Module | Network) or hasattr(found, "z_dim")


def _no_codes(x: Tensor) -> Tensor:
    raise UserError("generator: it gives samples only, no latent code can be chosen")


def _codes(n: int, z_dim: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((n, z_dim))).float()

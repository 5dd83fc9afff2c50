"""Generators and discriminators of one's own, as the views that the benchmark's victims grant.

A model comes as a file (TorchScript, `torch.export`, ONNX), as a Python entry `my_module:function`
that makes it, or as an object. It is tried on a few inputs before any attack starts.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from victims.errors import UserError
from victims.given.networks import Network, as_network, resolve_model

log = logging.getLogger(__name__)

TRIED = 8
"""Inputs that a model is tried on."""
EQUAL = 1e-3
"""Largest difference between two outputs for one input, as a share of the outputs' spread: batch
sizes change the order of sums, which moves float32 by about 1e-6, half precision by 1e-3."""
BATCHES = (1, 2, 4, 8, 10, 16, 32, 50, 64, 100, 128, 256)
"""Batch sizes that are tried on a model that does not take any."""
PRIORS = ("normal", "uniform")


class Generator:
    """A generator of one's own: latent codes to records.

    source: path of a model file, `my_module:function`, or the model itself: a torch module or any
    callable. A callable without the attribute `z_dim`, or the method `sample` of an object, is
    asked for a number of samples instead. Its output may be flat, have its channels last, or stand
    in a tuple or dict, as long as one tensor has the size of a record.
    z: size or shape of one latent code; None where the model says so (ONNX, torch.export, `z_dim`).
    range: of its pixels, "auto" or (low, high). prior: of the latent code, normal or uniform in
    (-1, 1). labels: of a conditional generator, called as model(z, labels): k for 0 to k - 1, or a
    list to draw from; one more number of the code decides. name: the setting, for messages.
    """

    def __init__(
        self,
        source: Any,
        z: int | Sequence[int] | None = None,
        range: str | Sequence[float] = "auto",
        prior: str = "normal",
        labels: int | Sequence[int] | None = None,
        name: str = "generator",
    ) -> None:
        if prior not in PRIORS:
            raise UserError(f"{name}.prior={prior}: allowed are {', '.join(PRIORS)}")
        self.name, self.range, self.prior = name, range, prior
        found = resolve_model(name, source)
        self.sample = None if _takes_codes(found, z) else getattr(found, "sample", found)
        self.network = Network(_no_codes) if self.sample else as_network(found)
        self.z_shape = () if self.sample else self._z_shape(found, z)
        self.labels = None if labels is None else _labels_to_draw(f"{name}.labels", labels)
        self.z_dim = int(np.prod(self.z_shape)) + (self.labels is not None)
        self.shape: tuple[int, ...] | None = None
        self.notes: list[str] = []

    def _z_shape(self, found: Any, z: int | Sequence[int] | None) -> tuple[int, ...]:
        if z is not None:
            shape = _whole_numbers(f"{self.name}.z", z, 1)
            if self.network.inputs not in (None, shape):
                raise UserError(
                    f"{self.name}.z={_as_word(shape)}: the model declares "
                    f"{_as_word(self.network.inputs)}; leave {self.name}.z out"
                )
        else:
            own = getattr(found, "z_dim", None)
            shape = self.network.inputs or (() if own is None else (int(own),))
        if not shape or min(shape) < 1:
            raise UserError(
                f"{self.name}: the model does not say how large its latent code is; set "
                f"{self.name}.z=100, or {self.name}.z=[100,1,1]"
            )
        return shape

    def to(self, device: torch.device) -> None:
        """Move it to a device, ready for attacks."""
        self.network = self.network.to(device)

    def __call__(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim), standard normal whatever the prior, to raw outputs (n, ...)."""
        more = []
        if self.labels is not None:
            known = torch.tensor(self.labels, device=z.device)
            places = (torch.special.ndtr(z[:, -1].detach()) * len(known)).long()
            more, z = [known[places.clamp(max=len(known) - 1)]], z[:, :-1]
        if self.prior == "uniform":
            z = 2 * torch.special.ndtr(z) - 1
        made = self.network(z.reshape(len(z), *self.z_shape), *more)
        return made if self.shape is None else as_records(made, self.shape)

    def is_differentiable(self) -> bool:
        """Whether a gradient reaches the latent code, with finite entries that are not all zero."""
        z = _draw_codes(TRIED, self.z_dim).requires_grad_(True)
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
        z = _draw_codes(TRIED, self.z_dim)
        self.shape = shape
        self.network = dataclasses.replace(self.network, size=int(np.prod(shape)))
        advice = f"is {self.name}.z={list(self.z_shape)} the shape of its latent code?"
        if self.labels is None:
            advice += f" Does it take labels too? {self.name}.labels=10 draws 0 to 9"
        if self.network.batch is None:
            batch = _only_batch(self, z)
            self.network = dataclasses.replace(self.network, batch=batch)
        check_model(self.name, self, z, shape, advice)
        self.shape = None
        with torch.no_grad():
            sides = list(self(z[:1]).shape[1:])
        self.shape = shape
        if sides != list(shape):
            self.notes.append(f"{self.name}: outputs of shape {sides} are read as {list(shape)}")


class Discriminator:
    """A discriminator of one's own: records to one number each, larger = more real.

    source: as for `Generator`. A map of patches counts by its mean, two logits (fake, real) by
    their difference. range: of the pixels that it expects; "auto": those of the generator, or
    [-1, 1]. name: the setting, for messages.
    """

    def __init__(
        self, source: Any, range: str | Sequence[float] = "auto", name: str = "discriminator"
    ) -> None:
        self.name, self.range = name, range
        self.network = dataclasses.replace(as_network(resolve_model(name, source)), size=1)

    def to(self, device: torch.device) -> None:
        """Move it to a device, ready for attacks."""
        self.network = self.network.to(device)

    def __call__(self, x: Tensor) -> Tensor:
        """Records (n, *shape) as the model knows them to outputs (n,)."""
        outputs = self.network(x)
        if outputs.ndim in (2, 4) and outputs.shape[1] == 2:
            outputs = outputs[:, 1] - outputs[:, 0]
        is_map = outputs.ndim == 3 or (outputs.ndim == 4 and outputs.shape[1] == 1)
        if is_map:
            return outputs.flatten(1).mean(1)
        return outputs.flatten() if outputs.numel() == len(x) else outputs

    def check(self, x: Tensor) -> None:
        """Try the model on a few records; raises UserError."""
        advice = "does it take records of this shape, and nothing else?"
        check_model(self.name, self, x[:TRIED], (), advice)


# --- trying ---------------------------------------------------------------------------------------


@torch.no_grad()
def check_model(
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


def as_records(made: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Outputs (n, ...) that are flat, or have their channels last or left out, as (n, *shape)."""
    sides = tuple(made.shape[1:])
    if len(shape) == 3 and sides != shape and sides == (*shape[1:], shape[0]):
        return made.permute(0, 3, 1, 2)
    flat = sides in ((int(np.prod(shape)),), (int(np.prod(shape)), 1, 1))
    grey = len(shape) == 3 and shape[0] == 1 and sides == shape[1:]
    return made.reshape(len(made), *shape) if flat or grey else made


def _whole_numbers(setting: str, value: Any, least: int) -> tuple[int, ...]:
    """A whole number, 16.0 among them, or a list of such, as a tuple."""
    entries = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    good = (isinstance(v, int | float) and not isinstance(v, bool) and v == v // 1 for v in entries)
    if not entries or not all(good) or min(entries) < least:
        raise UserError(
            f"{setting}={value}: a whole number from {least} on is needed, or a list of them: "
            f"{setting}=4 or {setting}=[4,1]"
        )
    return tuple(int(entry) for entry in entries)


def _labels_to_draw(setting: str, labels: Any) -> tuple[int, ...]:
    """The labels to draw from: those of a list, or as many as a number says, from 0 on."""
    if isinstance(labels, Sequence):
        return _whole_numbers(setting, labels, 0)
    (count,) = _whole_numbers(setting, labels, 1)
    return tuple(range(count))


@torch.no_grad()
def _only_batch(model: Callable[[Tensor], Tensor], z: Tensor) -> int | None:
    """The only batch size that a model takes, None if it takes any or none: a traced one has it."""
    if _accepts_codes(model, z) and _accepts_codes(model, z[:3]):
        return None
    return next((n for n in BATCHES if _accepts_codes(model, z[torch.arange(n) % len(z)])), None)


def _accepts_codes(model: Callable[[Tensor], Tensor], z: Tensor) -> bool:
    try:
        return len(model(z)) == len(z)
    except Exception as error:  # anyone's code
        log.debug("a batch of %d: %s", len(z), error)
        return False


def _takes_codes(found: Any, z: Any) -> bool:
    """Whether a model maps latent codes to records, not a number to that many samples."""
    if z is not None or isinstance(found, Network) or hasattr(found, "z_dim"):
        return True
    return isinstance(found, nn.Module) and not callable(getattr(found, "sample", None))


def _no_codes(x: Tensor) -> Tensor:
    raise UserError("generator: it gives samples only, no latent code can be chosen")


def _as_word(shape: Sequence[int]) -> str:
    """A shape as it is given: 16, or [100,1,1]."""
    return str(shape[0]) if len(shape) == 1 else str([*shape]).replace(" ", "")


def _draw_codes(n: int, z_dim: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((n, z_dim))).float()

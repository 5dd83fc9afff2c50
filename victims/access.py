"""What an attacker may touch: frozen views of a model, and the one place that grants them.

The settings form a lattice, not a ladder (Chen et al., CCS 2020, arXiv 1909.03935, section 3):

    FullBlackBox  <  PartialBlackBox  <  WhiteBox        AccessibleDiscriminator   AccessibleEncoder
    FullBlackBox  <  FullBlackBoxWithReference  <  FullBlackBoxWithMembers
    VariationApi    AccessibleDenoiser, WeightGradients  <  DenoiserWithGradients
    FullBlackBox, AccessibleDenoiser, WeightGradients  <  the same WithShadows
    DenoiserWithGradients  <  DenoiserWithGradientsAndShadows

The generator's chain grows to the right; the discriminator and the encoder are branches of their
own. In the second line the victim grants no more than samples: what is added are records that the
attacker brings along. In the last line these are models of its own. A view carries closures and
arrays, never the module, so an attack that reaches for more than it was granted fails at once with
an AttributeError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from victims.errors import NoAccess

if TYPE_CHECKING:  # everything imports this module, and torch takes seconds
    import torch
    from torch import Tensor

    from victims.schema import Schema

AnyView = TypeVar("AnyView", bound="View")


@dataclass(frozen=True)
class View:
    """What every setting shares: where the victim computes and how many records fit in one call."""

    device: torch.device
    batch_size: int


@dataclass(frozen=True)
class FullBlackBox(View):
    """Released samples only.

    released: (k, *shape) float32, memory-mapped; read it through `blocks`. Of tables these are
    records as their owner would publish them: zeros and ones in a binary column, no probabilities.
    schema: what the columns of a table are, where that is known.
    """

    released: np.ndarray
    schema: Schema | None = field(default=None, kw_only=True)

    def blocks(self, rows: int = 2048) -> Iterator[tuple[int, Tensor]]:
        """Yield (start, block) over the samples; a block is (<= rows, *shape) on the CPU."""
        import torch

        for start in range(0, len(self.released), rows):
            yield start, torch.from_numpy(np.array(self.released[start : start + rows]))


@dataclass(frozen=True)
class PartialBlackBox(FullBlackBox):
    """The attacker chooses the latent code and sees the output, without a gradient.

    Outputs of tables are what the network computes, probabilities included, and so is `released`
    here: what it puts out at `codes`.
    codes: (k, z_dim) float32, the latent codes of `released` (the attacker chose them).
    generate: (n, z_dim) -> (n, *shape) float32 on `device`; detached.
    """

    codes: np.ndarray
    generate: Callable[[Tensor], Tensor]

    @property
    def z_dim(self) -> int:
        """Dimension of the latent space; its prior is the standard normal."""
        return int(self.codes.shape[1])


@dataclass(frozen=True)
class WhiteBox(PartialBlackBox):
    """The attacker also has the generator's gradient.

    differentiate: (n, z_dim) -> (n, *shape) float32, part of the autograd graph of its argument.
    """

    differentiate: Callable[[Tensor], Tensor]


class Auxiliary:
    """Marks the views that also hold what the attacker brings along; the victim offers the rest."""


@dataclass(frozen=True)
class FullBlackBoxWithReference(FullBlackBox, Auxiliary):
    """Released samples, and records of the same kind that the victim was not trained on.

    reference: (r, *shape) float32, r > 0; none of them is a query.
    """

    reference: np.ndarray


@dataclass(frozen=True)
class FullBlackBoxWithMembers(FullBlackBoxWithReference):
    """... and some of the records that the victim was trained on.

    members: (m, *shape) float32, m > 0; none of them is a query.
    """

    members: np.ndarray


@dataclass(frozen=True)
class AccessibleDiscriminator(View):
    """The discriminator's output: (n, *shape) -> (n,), larger = more real."""

    discriminate: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class AccessibleEncoder(View):
    """One stochastic encode-decode pass of a VAE-type victim: (n, *shape), seed -> (n, *shape)."""

    reconstruct: Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class VariationApi(View):
    """Image to image: give a record, get it back noised and denoised. A black box.

    vary: (n, *shape), level, steps, seed -> (n, *shape); noised to that level by noise of the
    victim's, the same for all rows, and taken back in so many even steps. timesteps: how many
    levels there are.
    """

    vary: Callable[[Tensor, int, int, int], Tensor]
    timesteps: int


def _identity_map(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class AccessibleDenoiser(View):
    """A diffusion model's denoiser at a chosen record and level, and its schedule; no gradient.

    The literature calls this one access grey box (CDI), white box (Matsumoto) or black box (SecMI).
    denoise: (n, *shape), levels (n,) int64 -> (n, *shape), the noise that the network tells;
    detached. Questions asked before are answered from memory. signal: (T,) float64, the share of a
    record's variance left at each level (abar). encode: (n, *shape) -> (n, *inner), what a latent
    model denoises instead of records; without it `inner` is `shape`. beside: (n, *shape) -> (n, m),
    what the denoiser is given after the noised (n, k) and never noises, or None. A table's numbers
    are noised; its levels stand beside them as they are, one-hot.
    """

    denoise: Callable[[Tensor, Tensor], Tensor]
    signal: np.ndarray
    encode: Callable[[Tensor], Tensor] = field(default=_identity_map, kw_only=True)
    beside: Callable[[Tensor], Tensor] | None = field(default=None, kw_only=True)

    @property
    def timesteps(self) -> int:
        """How many levels there are."""
        return len(self.signal)


Gradients = Callable[["Tensor", Sequence[int], "Tensor"], "Tensor"]
"""(n, *shape), levels (m,), noise (n, m, *noise_shape) -> (n, tensors), see `WeightGradients`."""


@dataclass(frozen=True)
class WeightGradients(View):
    """How long the gradient of a record's own training loss is, for each tensor of weights.

    gradient_norms: (n, *shape), levels (m,), noise (n, m, *noise_shape) -> (n, tensors): norms of
    the gradient of each record's loss, averaged over these levels. levels: how many the loss has; 1
    where it has none. noise_shape: of what a record's loss draws at a level, standard normal.
    """

    gradient_norms: Gradients
    levels: int
    noise_shape: tuple[int, ...]


@dataclass(frozen=True)
class DenoiserWithGradients(AccessibleDenoiser, WeightGradients):
    """Both, of one diffusion model: who holds its weights can also ask it."""


@dataclass(frozen=True)
class Shadow:
    """A model of the attacker's own: what it shows, its members and strangers (m, *shape).

    view: what a victim of its kind would grant, without what the attacker brings along.
    """

    view: Any
    members: np.ndarray
    strangers: np.ndarray


@dataclass(frozen=True)
class WeightGradientsWithShadows(WeightGradients, Auxiliary):
    """... and models like the victim that the attacker trained, of whose records it knows all.

    shadows: one or more, each with members and strangers; none of these is a query.
    """

    shadows: tuple[Shadow, ...]


@dataclass(frozen=True)
class DenoiserWithGradientsAndShadows(DenoiserWithGradients, Auxiliary):
    """The same of a diffusion model, with such models."""

    shadows: tuple[Shadow, ...]


@dataclass(frozen=True)
class AccessibleDenoiserWithShadows(AccessibleDenoiser, Auxiliary):
    """The same, with the denoisers of such models."""

    shadows: tuple[Shadow, ...]


@dataclass(frozen=True)
class FullBlackBoxWithShadows(FullBlackBox, Auxiliary):
    """Released samples, and such models with what they release."""

    shadows: tuple[Shadow, ...]


def grant_view(
    parts: Mapping[str, Any], access: type[AnyView], missing: Mapping[str, str] | None = None
) -> AnyView:
    """A view of a model's parts: exactly the fields of `access`, nothing else.

    parts: by the names of views' fields. missing: name -> why there is no such part.
    Raises NoAccess where one is not there.
    """
    for name in parts_of_view(access):
        if name not in parts:
            raise NoAccess((missing or {}).get(name, f"no {name} is given"))
    known = {field.name for field in fields(access)} & {*parts}
    return access(**{name: parts[name] for name in known})


def parts_of_view(access: type[View]) -> list[str]:
    """The parts that a view needs."""
    return [field.name for field in fields(access) if field.default is MISSING]


def of_victim(access: type[View]) -> type[View]:
    """The part of a view that the victim grants: all but what the attacker brings along."""
    kinds = (kind for kind in access.__mro__ if issubclass(kind, View))
    return next(kind for kind in kinds if not issubclass(kind, Auxiliary))


def ordered_pairs() -> list[tuple[str, str]]:
    """Pairs (less, more) of settings: whoever has more can do all that less allows.

    Views with what the attacker brings along are left out: an attack that uses its records may well
    do worse than one that needs none.
    """
    views = [view for view in _views_below(View) if not issubclass(view, Auxiliary)]
    return [(setting_of(a), setting_of(b)) for a in views for b in views if a in b.__mro__[1:]]


def _views_below(access: type[View]) -> list[type[View]]:
    found = [view for own in access.__subclasses__() for view in (own, *_views_below(own))]
    return [*dict.fromkeys(found)]  # one that extends two views is below both


def setting_of(access: type[View]) -> str:
    """A view's name as it stands in tables: FullBlackBox -> full_black_box."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", access.__name__).lower()

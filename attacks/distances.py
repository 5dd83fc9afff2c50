"""Distances between queries and reconstructions, one number per query.

`targets` looks at the queries once; calling the distance compares them with reconstructions as
often as an optimiser needs. Everything is differentiable in reconstructions and latent codes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from attacks.lpips_network import Features, classifier_input, load_features
from attacks.lpips_weights import Net
from attacks.search.nearest import Power, find_nearest
from victims.access import FullBlackBox
from victims.errors import UserError

TINY = 1e-12
"""Under a root: its gradient at zero is infinite."""


@dataclass(frozen=True)
class Targets:
    """What a distance keeps of n queries: tensors whose first axis is the query."""

    tensors: tuple[Tensor, ...]

    def select_rows(self, rows: Tensor) -> Targets:
        """The targets of these queries (m,), in this order; repeats are allowed.

        >>> Targets((torch.tensor([5, 6, 7]),)).select_rows(torch.tensor([2, 0, 0])).tensors
        (tensor([7, 5, 5]),)
        """
        if torch.equal(rows, torch.arange(len(self.tensors[0]), device=rows.device)):
            return self  # most calls of a search are for all queries
        return Targets(tuple(tensor[rows] for tensor in self.tensors))


class Distance(ABC):
    """Compares n queries with n reconstructions."""

    power: ClassVar[Power] = 2
    """Of the differences between `scaled` records, by which nearest ones are looked for."""

    in_words: ClassVar[str] = "a distance of its own"
    """How two records are compared."""

    def load(self) -> None:  # noqa: B027  most need nothing
        """Get the weights that are needed; raises UserError where they cannot be had."""

    def refuse(self, shape: tuple[int, ...]) -> None:  # noqa: B027  most compare anything
        """Raise UserError where records of this shape, (c, h, w) or (d,), cannot be compared."""

    def of(self, view: Any) -> Distance:
        """This distance for the records of a view; most are the same for all."""
        return self

    def scaled(self, x: Tensor) -> Tensor:
        """Records (n, *shape) as nearest ones are looked for."""
        return x

    @abstractmethod
    def targets(self, x: Tensor) -> Targets:
        """What is needed of the queries (n, *shape), computed once."""

    @abstractmethod
    def __call__(self, targets: Targets, x_hat: Tensor, z: Tensor | None = None) -> Tensor:
        """Distances (n,) of reconstructions (n, *shape), made from codes z (n, z_dim) if given."""


def nearest_samples(
    distance: Distance, view: FullBlackBox, queries: Tensor, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distances to and rows of the released samples nearest to queries (n, *shape), nearest first.

    Both are (n, count). By L2, or by a distance of columns itself.
    """
    own = distance.of(view)
    blocks = ((start, own.scaled(block)) for start, block in view.blocks())
    sums, rows = find_nearest(
        blocks, own.scaled(queries), count, device=view.device, power=own.power
    )
    return sums ** (1 / own.power), rows


class Compares:
    """An attack that compares queries with reconstructions."""

    distance: Distance

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError where the distance does not compare records of this shape."""
        self.distance.refuse(shape)


class L2(Distance):
    """Mean over all entries of the squared difference; images in [-1, 1], so at most 4.

    >>> distance = L2()
    >>> distance(distance.targets(torch.ones(2, 3)), torch.tensor([[1.0, 1, 1], [-1, -1, -1]]))
    tensor([0., 4.])
    """

    in_words = "the mean squared difference of their values"

    def targets(self, x: Tensor) -> Targets:
        """The records themselves, flat."""
        return Targets((x.flatten(1),))

    def __call__(self, targets: Targets, x_hat: Tensor, z: Tensor | None = None) -> Tensor:
        """Distances (n,)."""
        return (targets.tensors[0] - x_hat.flatten(1)).square().mean(1)


class Euclidean(L2):
    """The root of `L2`: Euclidean distance over the root of the number of entries.

    One attack's scores are ordered alike by both. Differences of them are not, so calibration
    differs: the published full black box subtracts distances, see `attacks.full_black_box`.

    >>> distance = Euclidean()
    >>> distance(distance.targets(torch.ones(1, 3)), -torch.ones(1, 3))
    tensor([2.])
    """

    in_words = "the root of the mean squared difference of their values"

    def __call__(self, targets: Targets, x_hat: Tensor, z: Tensor | None = None) -> Tensor:
        """Distances (n,)."""
        return (super().__call__(targets, x_hat, z) + TINY).sqrt()


class LPIPS(Distance):
    """Learned perceptual distance between images: differences of a classifier's features.

    Source: Zhang, Isola, Efros, Shechtman, Wang 2018, arXiv 1801.03924, version 0.1 of its linear
    heads, equal to the package `lpips` on the same images. Deviations: grey images count as three
    equal channels, and small images are enlarged, bilinearly (the last layer of AlexNet is empty
    under 31 pixels; the heads were fitted on 64x64 patches).
    net: backbone, `alex` or `vgg`.
    min_side: pixels to which a shorter side is enlarged.
    Raises UserError for records that are no images of one or three channels.
    """

    in_words = "LPIPS: differences of a classifier's features"

    def __init__(self, net: Net = "alex", min_side: int = 32) -> None:
        self.net, self.min_side = net, min_side

    @property
    def model(self) -> Features:
        """The classifier; its weights are fetched when it is first needed."""
        return load_features(self.net)

    def load(self) -> None:
        """Get the classifier's weights; raises UserError where no route leads to them."""
        load_features(self.net)

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError unless records are images of one or three channels."""
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise UserError(
                f"LPIPS compares images of 1 or 3 channels, not records of shape {shape}; "
                f"use distance=l2, or by_kind where columns hold categories"
            )

    def targets(self, x: Tensor) -> Targets:
        """The features of the queries."""
        return Targets(tuple(self._features_of(x)))

    def __call__(self, targets: Targets, x_hat: Tensor, z: Tensor | None = None) -> Tensor:
        """Distances (n,)."""
        pairs = zip(targets.tensors, self._features_of(x_hat), strict=True)
        layers = [(a - b).square().sum(1).mean((1, 2)) for a, b in pairs]
        return torch.stack(layers).sum(0)

    def _features_of(self, x: Tensor) -> list[Tensor]:
        self.refuse(tuple(x.shape[1:]))
        self.model.to(x.device)
        return self.model(classifier_input(x, self.min_side))


class L2LPIPS(Distance):
    """l2 * L2 + lpips * LPIPS + latent * (|z|^2 - dim z)^2.

    Source: Chen, Yu, Zhang, Fritz 2020, arXiv 1909.03935, section 4.1, with the weights of the
    published code (1, 0.2, 0.001). The last term keeps a code where the prior has mass; it counts
    only where a code was chosen, and the published PyTorch scripts define but do not use it.
    l2, lpips, latent: weights, not negative.
    net: LPIPS's backbone, `alex` or `vgg`.
    """

    in_words = "a sum of squared differences and LPIPS"

    def __init__(
        self,
        l2: NonNegativeFloat = 1.0,
        lpips: NonNegativeFloat = 0.2,
        latent: NonNegativeFloat = 0.001,
        net: Net = "alex",
    ) -> None:
        self.l2, self.lpips, self.latent = l2, lpips, latent
        self.pixels, self.perceptual = L2(), LPIPS(net)

    def load(self) -> None:
        """Get the classifier's weights; raises UserError where no route leads to them."""
        self.perceptual.load()

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError unless records are images of one or three channels."""
        self.perceptual.refuse(shape)

    def targets(self, x: Tensor) -> Targets:
        """Pixels and features of the queries."""
        return Targets(self.pixels.targets(x).tensors + self.perceptual.targets(x).tensors)

    def __call__(self, targets: Targets, x_hat: Tensor, z: Tensor | None = None) -> Tensor:
        """Distances (n,)."""
        pixels, features = Targets(targets.tensors[:1]), Targets(targets.tensors[1:])
        loss = self.l2 * self.pixels(pixels, x_hat) + self.lpips * self.perceptual(features, x_hat)
        if z is None:
            return loss
        return loss + self.latent * (z.square().sum(1) - z.shape[1]).square()

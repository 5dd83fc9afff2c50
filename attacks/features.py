"""What records are compared by: pixels, principal components, gradients' directions, colours.

Features are computed on the CPU, a block of records at a time, each record on its own.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from sklearn.decomposition import PCA
from torch import Tensor

from attacks.base import Learnt, some_rows
from attacks.mixed import (
    ByColumns,
    OfColumns,
    fill_gaps,
    is_mixed,
    scale_places,
    standardising_factors,
)
from victims.access import FullBlackBox
from victims.errors import UserError


class Values(ByColumns):
    """The records as they are: pixels, or a table's columns; mixed ones standardised.

    distance: of tables, how columns are compared instead: `attacks.mixed.Gower`.
    """

    computed: ClassVar[bool] = False
    """Whether features take time to compute: then those of the released samples are kept."""

    def __init__(self, distance: OfColumns | None = None) -> None:
        self.distance = distance

    def learn(self, view: FullBlackBox) -> Learnt:
        """What has to be known before records can be looked at."""
        return self.learn_factors(view) or {}

    def __call__(self, learnt: Learnt, records: Tensor) -> Tensor:
        """Records (n, *shape) -> features (n, d) float32."""
        return scale_places(learnt, records) if "scale" in learnt else records.flatten(1)


class PrincipalComponents(Values):
    """The first principal components of the released samples.

    Fitted by scikit-learn, with POWER iterations where it takes its randomised solver.
    components: how many, at most as many as there are samples or values.
    seed: draws the samples that they are fitted to.
    fitted: how many samples these are, at most: memory and time stay bounded.
    """

    computed = True
    POWER = 4

    def __init__(self, components: PositiveInt, seed: int = 0, fitted: PositiveInt = 5000) -> None:
        self.components, self.fitted = components, fitted
        self.state = int(np.random.SeedSequence(seed).generate_state(1)[0])

    def learn(self, view: FullBlackBox) -> Learnt:
        """Mean (d,) and components (c, d) of released samples."""
        rows = some_rows(len(view.released), self.fitted, self.state)
        samples = np.array(view.released[rows], np.float32)
        learnt = (
            standardising_factors(view) if is_mixed(view) else {"scale": np.ones(1, np.float32)}
        )
        samples = scale_places(learnt, torch.from_numpy(samples)).numpy()
        many = min(self.components, *samples.shape)
        pca = PCA(many, iterated_power=self.POWER, random_state=self.state).fit(samples)
        scale = learnt.pop("scale")
        axes = (pca.components_ * scale).astype(np.float32)
        mean = np.divide(pca.mean_, scale, out=np.zeros_like(pca.mean_), where=scale != 0)
        return {"mean": mean.astype(np.float32), "axes": axes, **learnt}

    def __call__(self, learnt: Learnt, records: Tensor) -> Tensor:
        """Records (n, *shape) -> (n, c)."""
        mean, axes = (torch.from_numpy(learnt[name]) for name in ("mean", "axes"))
        return (fill_gaps(learnt, records.flatten(1)) - mean) @ axes.T


Norm = Literal["L2-Hys", "L1"]


class OrientedGradients(Values):
    """Histogram of oriented gradients (HOG) of images, as `skimage.feature.hog` computes it.

    Source: Dalal and Triggs 2005, CVPR. The code of Hilprecht et al. (`attacks.monte_carlo`) names
    no normalisation of blocks and gets that of its scikit-image, before 0.15: block_norm `L1`. It
    is `L2-Hys` by default here, as in scikit-image since 0.15. Written for blocks of images,
    because calling scikit-image once an image takes longer than all comparisons; equal to it within
    rounding. With several channels each pixel takes the one of the largest gradient; blocks are of
    3x3 cells.
    orientations: bins over 180 degrees.
    cell: pixels on a cell's side.
    block_norm: `L2-Hys` or `L1`.
    """

    computed = True
    BLOCK, EPS = 3, 1e-5

    def __init__(
        self, orientations: PositiveInt = 9, cell: PositiveInt = 9, block_norm: Norm = "L2-Hys"
    ) -> None:
        self.orientations, self.cell, self.block_norm = orientations, cell, block_norm

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError unless records are images of at least 3x3 cells."""
        _refuse_tables("oriented gradients", shape)
        least = self.BLOCK * self.cell
        if min(shape[1:]) < least:
            raise UserError(
                f"attack feature cell={self.cell}: oriented gradients need images of at least "
                f"{least}x{least} pixels, a record has {shape[1]}x{shape[2]}; lower cell"
            )

    def __call__(self, learnt: Learnt, records: Tensor) -> Tensor:
        """Images (n, c, h, w) in [-1, 1] -> (n, d)."""
        return torch.cat(
            [self._normalised_blocks(self._gradients_by_cell(part)) for part in records.split(256)]
        )

    def _gradients_by_cell(self, images: Tensor) -> Tensor:
        """Mean gradient magnitude of each orientation in each cell: (n, rows, columns, o)."""
        down, right = torch.zeros_like(images), torch.zeros_like(images)
        torch.sub(images[:, :, 2:], images[:, :, :-2], out=down[:, :, 1:-1])
        torch.sub(images[..., 2:], images[..., :-2], out=right[..., 1:-1])
        size, channel = torch.hypot(down, right).max(1, keepdim=True)
        size /= 2  # as of images in [0, 1]
        down, right = (gradient.gather(1, channel) for gradient in (down, right))
        angle = torch.rad2deg(torch.atan2(down, right)) % 180
        bins = (angle * (self.orientations / 180)).long().clamp_(max=self.orientations - 1)
        rows, columns = (side // self.cell for side in images.shape[2:])
        inside = (..., slice(rows * self.cell), slice(columns * self.cell))
        place = torch.arange(rows)[:, None] * columns + torch.arange(columns)
        place = place.repeat_interleave(self.cell, 0).repeat_interleave(self.cell, 1)
        index = (bins[inside][:, 0] + self.orientations * place).flatten(1)
        total = images.new_zeros(len(images), rows * columns * self.orientations)
        total.scatter_add_(1, index, size[inside].flatten(1))
        return (total / self.cell**2).view(-1, rows, columns, self.orientations)

    def _normalised_blocks(self, cells: Tensor) -> Tensor:
        """Every block of cells, normalised: (n, d)."""
        blocks = cells.unfold(1, self.BLOCK, 1).unfold(2, self.BLOCK, 1)  # (n, r, c, o, 3, 3)
        blocks = blocks.permute(0, 1, 2, 4, 5, 3).flatten(3)
        if self.block_norm == "L1":
            return (blocks / (blocks.sum(-1, keepdim=True) + self.EPS)).flatten(1)
        return self._unit_length(self._unit_length(blocks).clamp_(max=0.2)).flatten(1)

    def _unit_length(self, blocks: Tensor) -> Tensor:
        return blocks / (blocks.square().sum(-1, keepdim=True) + self.EPS**2).sqrt()


class ColourHistogram(Values):
    """Joint histogram of an image's colours, of length one; grey values for one channel.

    Each image is first stretched to its own smallest and largest value, as in the code of
    Hilprecht et al. (`attacks.monte_carlo`).
    bins: levels a channel; d = bins ** channels.
    """

    computed = True

    def __init__(self, bins: Annotated[int, Field(ge=2)] = 16) -> None:
        self.bins = bins

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError unless records are images."""
        _refuse_tables("a colour histogram", shape)

    def __call__(self, learnt: Learnt, records: Tensor) -> Tensor:
        """Images (n, c, h, w) -> (n, bins ** c)."""
        return torch.cat([self._count_colours(part) for part in records.split(256)])

    def _count_colours(self, images: Tensor) -> Tensor:
        low, high = torch.aminmax(images.flatten(1), dim=1, keepdim=True)
        factor = 255 * self.bins / 256 / (high - low).clamp(min=1e-12)
        levels = ((images.flatten(1) - low) * factor).int().view(*images.shape[:2], -1)
        index = levels[:, 0]
        for channel in levels.unbind(1)[1:]:
            index = index * self.bins + channel
        counts = torch.zeros(len(images), self.bins ** images.shape[1])
        counts.scatter_add_(1, index.long(), torch.ones(1, 1).expand_as(index))
        return counts / counts.norm(dim=1, keepdim=True)


def _refuse_tables(feature: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 3:
        raise UserError(
            f"attack feature: {feature} can be had of images only, but a record has {shape[0]} "
            f"columns; use attack=[monte_carlo_values] or [monte_carlo_pca]"
        )

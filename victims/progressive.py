"""Networks that grow: equalised layers, pixel norm, minibatch deviation, fade-in (PGGAN's).

Source: Karras, Aila, Laine, Lehtinen 2018, arXiv 1710.10196. A stage's resolution is 4 * 2^stage.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate

from victims.networks import stages_of


def double_side(x: Tensor) -> Tensor:
    """Each pixel four times: (n, c, h, w) -> (n, c, 2h, 2w)."""
    return interpolate(x, scale_factor=2, mode="nearest")


def halve_side(x: Tensor) -> Tensor:
    """Means of 2x2 pixels: (n, c, h, w) -> (n, c, h/2, w/2)."""
    return avg_pool2d(x, 2)


class EqualisedConv(nn.Conv2d):
    """A convolution with weights from N(0, 1), scaled by gain / sqrt(fan-in) as it is applied.

    So that Adam, whose steps do not know a weight's scale, trains all layers at one speed.
    """

    def __init__(
        self, before: int, after: int, kernel: int, padding: int = 0, gain: float = math.sqrt(2)
    ) -> None:
        super().__init__(before, after, kernel, padding=padding)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]
        self.scale = gain / math.sqrt(before * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        """The scaled convolution."""
        return conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)  # type: ignore[arg-type]


class PixelNorm(nn.Module):
    """Scales each pixel's feature vector to mean square 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, c, h, w) along c."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class MinibatchDeviation(nn.Module):
    """Appends a constant map, how much the records differ: (n, c, h, w) -> (n, c + 1, h, w).

    In training: the standard deviation over the batch, averaged over features and pixels. In
    evaluation: its running mean over batches of training records (deviation from the source), so
    that each record is judged by itself. The source's code splits a batch into groups of 4; here,
    as in its text, the batch is one group.
    """

    typical: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("typical", torch.zeros(()))
        self.latest = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """Append the deviation to the features."""
        if not self.training:
            return torch.cat([x, self.typical.expand(len(x), 1, *x.shape[2:])], 1)
        deviation = (x.var(0, unbiased=False) + 1e-8).sqrt().mean()
        self.latest = deviation.detach().float()
        return torch.cat([x, deviation.expand(len(x), 1, *x.shape[2:])], 1)

    def remember_deviation(self, share: float = 0.01) -> None:
        """Move the running mean towards the latest batch's deviation."""
        self.typical.lerp_(self.latest, share)


class NoDeviation(nn.Module):
    """Stands in for `MinibatchDeviation` in private training: appends a map of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """Append zeros to the features."""
        return torch.cat([x, torch.zeros_like(x[:, :1])], 1)

    def remember_deviation(self) -> None:
        """There is nothing to remember."""


class GrowingGenerator(nn.Module):
    """Generator with an output at every stage: (n, z_dim) -> (n, c, 4 * 2^stage, 4 * 2^stage).

    width: channels of the last stage, doubled towards 4x4 up to max_channels. The output is linear.
    """

    def __init__(self, shape: tuple[int, ...], z_dim: int, width: int, max_channels: int) -> None:
        super().__init__()
        channels = _channels_by_stage(shape, width, max_channels)
        first = nn.Sequential(
            EqualisedConv(z_dim, 16 * channels[0], 1),
            nn.Flatten(),
            nn.Unflatten(1, (channels[0], 4, 4)),
            *(nn.LeakyReLU(0.2), PixelNorm()),
            *_normed_layers(channels[0], channels[0]),
        )
        later = [
            nn.Sequential(
                nn.Upsample(scale_factor=2), *_normed_layers(below, own), *_normed_layers(own, own)
            )
            for below, own in pairwise(channels)
        ]
        self.blocks = nn.ModuleList([first, *later])
        self.to_image = nn.ModuleList(EqualisedConv(c, shape[0], 1, gain=1.0) for c in channels)

    def forward(self, z: Tensor, stage: int = -1, alpha: float = 1.0) -> Tensor:
        """Latent codes to images of a stage (-1: the last), its newest block faded in by alpha."""
        stage = stage % len(self.blocks)
        x = below = z[:, :, None, None]
        for block in self.blocks[: stage + 1]:
            below, x = x, block(x)
        image = self.to_image[stage](x)
        if alpha == 1.0:
            return image
        return torch.lerp(double_side(self.to_image[stage - 1](below)), image, alpha)


class GrowingCritic(nn.Module):
    """The generator's mirror: (n, c, 4 * 2^stage, 4 * 2^stage) -> (n,)."""

    deviation: MinibatchDeviation | NoDeviation

    def __init__(self, shape: tuple[int, ...], width: int, max_channels: int) -> None:
        super().__init__()
        channels = _channels_by_stage(shape, width, max_channels)
        self.from_image = nn.ModuleList(_leaky_layers(shape[0], c, 1) for c in channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                _leaky_layers(own, own, 3, 1), _leaky_layers(own, below, 3, 1), nn.AvgPool2d(2)
            )
            for below, own in pairwise(channels)
        )
        self.deviation = MinibatchDeviation()
        self.head = nn.Sequential(
            _leaky_layers(channels[0] + 1, channels[0], 3, 1),
            _leaky_layers(channels[0], channels[0], 4),
            EqualisedConv(channels[0], 1, 1, gain=1.0),
            nn.Flatten(0),
        )

    def forward(self, x: Tensor, stage: int = -1, alpha: float = 1.0) -> Tensor:
        """Images of a stage (-1: the last) to outputs, its newest block faded in by alpha."""
        stage = stage % len(self.from_image)
        y = self.from_image[stage](x)
        for i in reversed(range(stage)):
            y = self.blocks[i](y)
            if i == stage - 1 and alpha < 1.0:
                y = torch.lerp(self.from_image[i](halve_side(x)), y, alpha)
        return self.head(self.deviation(y))

    def used_layers(self, stage: int, alpha: float) -> nn.Module:
        """What `forward` uses: an optimiser that sees more would move the rest by noise alone."""
        images = self.from_image[stage if alpha == 1.0 else stage - 1 : stage + 1]
        return nn.ModuleList([*images, *self.blocks[:stage], self.head])


def _channels_by_stage(shape: tuple[int, ...], width: int, max_channels: int) -> list[int]:
    """Channels at every stage, 4x4 first."""
    top = stages_of(shape)
    return [min(max_channels, width << (top - stage)) for stage in range(top + 1)]


def _leaky_layers(before: int, after: int, kernel: int, padding: int = 0) -> nn.Sequential:
    return nn.Sequential(EqualisedConv(before, after, kernel, padding), nn.LeakyReLU(0.2))


def _normed_layers(before: int, after: int) -> list[nn.Module]:
    return [EqualisedConv(before, after, 3, 1), nn.LeakyReLU(0.2), PixelNorm()]

"""Convolutional networks sized by resolution and width, shared by the image victims."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.functional import conv2d, fold

from victims.errors import UserError

Norm = Callable[[int], nn.Module]


def stages_of(shape: tuple[int, ...]) -> int:
    """How many doublings lead from 4x4 to the resolution; raises UserError where none does."""
    if len(shape) != 3:
        raise UserError(
            f"this victim makes images, but a record has shape {shape}; "
            "for tables try victim=vae_table, for mixed columns victim=tab_ddpm"
        )
    _, height, width = shape
    doublings = height.bit_length() - 3
    if height != width or height != 4 << doublings or not 1 <= doublings <= 6:
        raise UserError(
            f"a record is {height}x{width}; image victims need a square power of two from 8 to 256"
        )
    return doublings


class ConvGenerator(nn.Module):
    """DCGAN's generator: (n, z_dim) -> (n, c, h, w) in [-1, 1].

    From a 4x4 map, each transposed convolution doubles the side and halves the channels. (Radford,
    Metz, Chintala 2016, arXiv 1511.06434.)

    shape: (c, h, w) of an image.
    z_dim: dimension of the latent code.
    width: channels of the last hidden layer.
    norm: normalisation after every hidden layer.
    """

    def __init__(
        self, shape: tuple[int, ...], z_dim: int, width: PositiveInt, norm: Norm = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        doublings = stages_of(shape)
        channels = [width << (doublings - 1 - i) for i in range(doublings)]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(z_dim, channels[0], 4, 1, 0, bias=False),
            norm(channels[0]),
            nn.ReLU(inplace=True),
        ]
        for before, after in pairwise(channels):
            layers += [
                nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False),
                norm(after),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers, ToImage(channels[-1], shape[0]), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Latent codes to images."""
        return self.layers(z[:, :, None, None])


class ToImage(nn.ConvTranspose2d):
    """The transposed convolution that doubles the side and makes an image of few channels.

    Each place of the map is multiplied by all weights; the products are summed where they overlap.
    On a CPU PyTorch's own takes four times as long where the result is a grey image.

    before, after: channels of the map and of the image.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 4, 2, 1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Maps (n, c, h, w) to images (n, c', 2h, 2w), before any tanh."""
        assert self.bias is not None
        products = conv2d(x, self.weight.flatten(1).T[:, :, None, None]).flatten(2)
        sides = 2 * x.shape[2], 2 * x.shape[3]
        return fold(products, sides, 4, stride=2, padding=1) + self.bias[:, None, None]


class ConvDiscriminator(nn.Module):
    """DCGAN's discriminator without its sigmoid: (n, c, h, w) -> (n, outputs), or (n,) for one.

    shape: (c, h, w) of an image.
    width: channels of the first layer, doubled at each halving of the side.
    norm: normalisation after every convolution but the first and last; None for none.
    outputs: numbers for each image.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: PositiveInt,
        norm: Norm | None = nn.BatchNorm2d,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        doublings = stages_of(shape)
        channels = [width << i for i in range(doublings)]
        layers: list[nn.Module] = [
            nn.Conv2d(shape[0], channels[0], 4, 2, 1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for before, after in pairwise(channels):
            layers += [
                nn.Conv2d(before, after, 4, 2, 1, bias=norm is None),
                *([norm(after)] if norm else []),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(channels[-1], outputs, 4, 1, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Images to outputs."""
        return self.head(self.features(x)).flatten(1).squeeze(1)


def dcgan_init(module: nn.Module) -> None:
    """DCGAN's initialisation: weights N(0, 0.02), normalisation scales N(1, 0.02), biases zero."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)

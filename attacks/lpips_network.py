"""LPIPS's network: a classifier's feature maps, computed with as few products as they need."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, fold, interpolate

from attacks.lpips_weights import backbone_weights

Pair = tuple[int, int]
"""Rows and columns."""


def classifier_input(x: Tensor, min_side: int) -> Tensor:
    """Images (n, 1 or 3, h, w) with no side under `min_side`, enlarged bilinearly.

    >>> tuple(classifier_input(torch.zeros(2, 1, 16, 24), min_side=32).shape)
    (2, 1, 32, 48)
    """
    small = min(x.shape[2:])
    return (
        x if small >= min_side else interpolate(x, scale_factor=min_side / small, mode="bilinear")
    )


@cache
def load_features(net: str) -> Features:
    """LPIPS's network with ImageNet weights; one in a process, shared by all distances."""
    return Features(net).eval().requires_grad_(False)


class Features(nn.Module):
    """Images (n, 1 or 3, h, w) in [-1, 1] to five feature maps; LPIPS is their squared distance.

    Each map is normalised over channels and multiplied by the root of the head's weights (none
    is negative): the weighting is then paid once for a query, not at each comparison. A grey image
    counts as three equal channels. Maps are those of the package but for rounding.
    """

    def __init__(self, net: str) -> None:
        super().__init__()
        weights = backbone_weights(net)  # first: it raises a clear error for an unknown net
        import lpips  # imports torchvision, seconds

        with warnings.catch_warnings():  # of torchvision, about how the package calls it
            warnings.simplefilter("ignore", UserWarning)
            # On "meta", which holds no numbers: the package draws a whole classifier at random.
            with torch.device("meta"):
                package = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
        own = {
            name: weights["features." + name.split(".", 1)[1]] for name in package.net.state_dict()
        }
        package.net.load_state_dict(own, assign=True)
        self.scale, self.net = lpips.ScalingLayer(), package.net
        path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
        heads = torch.load(path, map_location="cpu", weights_only=True)
        roots = [heads[f"lin{i}.model.1.weight"].clamp(min=0).sqrt() for i in range(5)]
        self.roots = nn.ParameterList(roots)
        self.matrices: dict[tuple[nn.Conv2d, torch.Size, torch.device], Tensor] = {}
        self.black: dict[tuple[torch.Size, torch.device], Tensor] = {}

    def forward(self, x: Tensor) -> list[Tensor]:
        """Weighted, normalised feature maps."""
        return [
            map / (map.square().sum(1, keepdim=True).sqrt() + 1e-10) * root
            for map, root in zip(self.compute_maps(x), self.roots, strict=True)
        ]

    def compute_maps(self, x: Tensor) -> list[Tensor]:
        """The classifier's five feature maps (n, channels, h, w) as they are."""
        first, *others = (layer for part in self.net.children() for layer in part)
        ends = {part[-1] for part in self.net.children()}
        # A CPU pools ten times as fast where the channels of a pixel lie together.
        x, maps = self._convolve_image(first, x).contiguous(memory_format=torch.channels_last), []
        for layer in others:
            x = self._convolve(layer, x) if isinstance(layer, nn.Conv2d) else layer(x)
            if layer in ends:
                maps.append(x)
        return maps

    def _convolve_image(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        """The first layer; of three equal channels one is convolved, with the sum of weights."""
        assert layer.bias is not None
        weight, black = layer.weight, layer.bias[:, None, None]
        if x.shape[1] == 1:
            black = self._convolve_black(layer, x)
            weight = (weight / self.scale.scale).sum(1, keepdim=True)
        else:
            x = self.scale(x)
        return ImageConvolution.apply(x, weight, layer.stride, layer.padding) + black

    def _convolve_black(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        """The first layer's output (1, c, h', w') for an image like these of zeros, kept."""
        key = x.shape[2:], x.device
        if key not in self.black:
            self.black[key] = layer(self.scale(x.new_zeros(1, 3, *x.shape[2:])))
        return self.black[key]

    def _convolve(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        """A layer's output; by one matrix where its kernel is larger than the map.

        Most of such a kernel lies on padding: of 5x5 weights on a 3x3 map, nearly two thirds.
        """
        sides = x.shape[2:]
        if layer.stride != (1, 1) or max(sides) >= min(layer.kernel_size):
            return layer(x)
        key = layer, sides, x.device
        if key not in self.matrices:
            units = torch.eye(x[0].numel(), device=x.device).unflatten(1, (*sides, -1))
            made = conv2d(units.movedim(3, 1), layer.weight, None, 1, layer.padding)
            self.matrices[key] = made.movedim(1, 3).flatten(1)
        assert layer.bias is not None
        made = x.movedim(1, 3).flatten(1) @ self.matrices[key]
        return made.unflatten(1, (*sides, -1)).movedim(3, 1) + layer.bias[:, None, None]


class ImageConvolution(torch.autograd.Function):
    """A convolution of images (n, 1 or 3, h, w) by weights (c, 1 or 3, k, k) that are not learnt.

    Its gradient is one product and a sum of patches. PyTorch's own takes four times as long on a
    CPU, where an image has so few channels.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        """Maps (n, c, h', w')."""
        ctx.save_for_backward(weight)
        ctx.sides, ctx.steps = x.shape[2:], {"stride": stride, "padding": padding}
        return conv2d(x, weight, None, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        """The gradient for the images alone."""
        (weight,) = ctx.saved_tensors
        patches = weight.flatten(1).T @ gradient.flatten(2)
        return fold(patches, ctx.sides, weight.shape[2:], **ctx.steps), None, None, None

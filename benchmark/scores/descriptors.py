"""What images are compared by when copies are looked for, if not by their pixels.

An image that was moved by a pixel, mirrored or darkened has other pixels, and is a copy all the
same. A descriptor is what a network makes of an image: it hardly changes then, while those of
different images stay apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from attacks.lpips_network import classifier_input, load_features
from attacks.lpips_weights import cache_folder
from benchmark.measures.result import NEAR
from victims.errors import UserError
from victims.given.archives import load_program

TINY = 1e-3
"""Range of an image's pixels up to which it is not stretched: what is there may be rounding."""


class Descriptor(ABC):
    """Images to descriptors, of which Euclidean distances are taken: the config group `copies`."""

    by: str
    """What images are compared by, for a reader."""

    near: float = NEAR
    """The largest calibrated distance of a near copy, see `benchmark.measures.copies`."""

    @abstractmethod
    def load(self) -> None:
        """Get the network's weights; raises UserError now where they cannot be had."""

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError unless records are images of one or three channels."""
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise UserError(
                f"copies: {self.by} can be had of images of 1 or 3 channels only, but records have "
                f"the shape {shape}; use copies=pixels"
            )

    @abstractmethod
    def describe(self, images: Tensor) -> Tensor:
        """Images (n, 1 or 3, h, w) in [-1, 1], on any device, to descriptors (n, d) there."""


class AlexNet(Descriptor):
    """What AlexNet's first layer sees in an image, wherever it lies: 64 numbers.

    These 64 filters (edges and colours, learnt on ImageNet) are those of LPIPS, which brings no
    further download. Each filter's answers, at every second pixel, become their generalised mean
    (power 3: Radenovic, Tolias, Chum 2018, arXiv 1711.02512). So it hardly counts where something
    lies. An image is first stretched to its own smallest and largest value, and stands for the mean
    of itself and its mirror image: neither brightness and contrast nor left and right count. What
    remains, such as another scale, does. The recipe is the benchmark's own, made on digits;
    AlexNet's deeper layers, averaged likewise, tell copies from others less well there. Images with
    a side under SIDE pixels are enlarged to it, bilinearly.
    """

    SIDE, STEP, POWER = 64, 2, 3
    MARGIN = 5
    """Half a filter's width: around the image its border is repeated."""

    by = "features of the first layer of AlexNet"

    def load(self) -> None:
        """Get the backbone's weights; raises UserError where no route leads to them."""
        load_features("alex")

    @torch.no_grad()
    def describe(self, images: Tensor) -> Tensor:
        """Images (n, 1 or 3, h, w) in [-1, 1] to (n, 64)."""
        low, high = (own[:, None, None, None] for own in torch.aminmax(images.flatten(1), dim=1))
        stretched = (images - low) / (high - low).clamp(min=TINY) * 2 - 1
        seen = classifier_input(stretched, self.SIDE)
        return (self._filter_means(seen) + self._filter_means(seen.flip(3))) / 2

    def _filter_means(self, images: Tensor) -> Tensor:
        network = load_features("alex").to(images.device)
        filters = network.net.slice1[0]
        padded = pad(network.scale(images), [self.MARGIN] * 4, mode="replicate")
        answers = conv2d(padded, filters.weight, filters.bias, stride=self.STEP).relu()
        return answers.pow(self.POWER).mean((2, 3)).pow(1 / self.POWER)


class SSCD(Descriptor):
    """Descriptors of a network that was trained to find copies; its user names the file.

    Source: Pizzi, Roy, Ravindra, Goyal, Douze 2022, arXiv 2202.10261, the model `sscd_disc_mixup`
    (ResNet-50, 512 numbers of length one) on images whose shorter side is 288 pixels, as its
    authors recommend. The file is TorchScript, which computes what its author chose. So it is
    opened only if its SHA-256 is that of the published file, and as all TorchScript is here. Its
    authors state no checksum; this one is what several public projects found. Deviation: none is
    known, but only a stand-in of the same form was tried.
    file: where `sscd_disc_mixup.torchscript.pt` lies; None: in the cache of weights.
    """

    FILE = "sscd_disc_mixup.torchscript.pt"
    URL = f"https://dl.fbaipublicfiles.com/sscd-copy-detection/{FILE}"
    SHA256 = "9f26bd4c848cc19b73d2ae92eea6e04886f61a7b764ceb7a13aeee62e6a6db56"
    SIDE = 288
    MEAN: ClassVar = (0.485, 0.456, 0.406)
    SPREAD: ClassVar = (0.229, 0.224, 0.225)

    by, near = "descriptors of SSCD", 0.5
    """Its authors take a cosine above 0.75 for a copy. That is half as far as descriptors of images
    that have nothing in common lie from one another, namely at a right angle."""

    def __init__(self, file: str | None = None) -> None:
        self.file = file

    def load(self) -> None:
        """Open the file; raises UserError where it is missing or is another one."""
        _ = self.network

    @cached_property
    def network(self) -> Any:
        """The network with its weights."""
        path = Path(self.file).expanduser() if self.file else cache_folder() / self.FILE
        if not path.is_file():
            raise UserError(
                f"copies=sscd: {path} is not there; download {self.URL} and name it by "
                f"copies.file=FILE, or use copies=features, which needs no such file"
            )
        with path.open("rb") as stream:
            found = file_digest(stream, "sha256").hexdigest()
        if found != self.SHA256:
            raise UserError(
                f"copies.file={path}: its SHA-256 is {found}, that of the published {self.FILE} is "
                f"{self.SHA256}; it is not opened"
            )
        return load_program("copies.file", path)

    @torch.no_grad()
    def describe(self, images: Tensor) -> Tensor:
        """Images (n, 1 or 3, h, w) in [-1, 1] to (n, 512)."""
        scale = self.SIDE / min(images.shape[2:])
        size = [round(side * scale) for side in images.shape[2:]]
        resized = interpolate(images, size=size, mode="bilinear", antialias=True)
        mean, spread = (images.new_tensor(own)[:, None, None] for own in (self.MEAN, self.SPREAD))
        pixels = (resized.clamp(-1, 1) + 1) / 2
        return self.network.to(images.device)((pixels.expand(-1, 3, -1, -1) - mean) / spread)

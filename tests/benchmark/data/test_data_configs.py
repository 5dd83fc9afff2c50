"""Every file in conf/data and conf/split builds, at every scale, before any data are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from benchmark.config.build import build
from benchmark.config.commandline import register_resolvers

CONF = Path(__file__).parents[3] / "conf"
FILES = sorted([*CONF.glob("data/*.yaml"), *CONF.glob("split/*.yaml")])


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}={file.stem}")
def test_config_builds(file, scale, monkeypatch, tmp_path):
    register_resolvers()
    monkeypatch.setenv("GAN_LEAKS_DATA", str(tmp_path))
    config = OmegaConf.create({"scale": {"name": scale}, "it": OmegaConf.load(file)})
    source = build(config.it, file.parent.name)
    assert hasattr(source, "prepare") or hasattr(source, "draw_split")

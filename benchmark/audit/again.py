"""`again=FOLDER`: an audit started again from the config.yaml that it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from benchmark.store.folders import CONFIG, home
from victims.errors import UserError

PRESENT = ("again", "machine")
"""Parts that are always those of the present command: they change no result."""

FOLLOWED = ("seed", "distance")
"""Settings of the whole audit that attacks refer to; the file holds what they were then."""


def restore_settings(config: DictConfig, words: Sequence[str]) -> DictConfig:
    """The settings of the earlier audit that `again` names, with those of `words` in their place.

    config: composed from words, the overrides of this command; returned as it is without `again`.
    Raises UserError where the file cannot be read, or another version of the benchmark wrote it.
    """
    if config.again is None:
        return config
    file, earlier = _read_earlier(config.again)
    if odd := set(earlier) ^ set(config):
        raise UserError(
            f"{file}: it is no config of an audit, or another version of the benchmark wrote it "
            f"({', '.join(sorted(map(str, odd)))})"
        )
    given = [
        override.key_or_group for override in OverridesParser.create().parse_overrides(list(words))
    ]
    if "scale" in given:
        raise UserError(
            f"again={config.again}: its sizes are those of scale={earlier.scale.name}; "
            f"leave scale out, or name the sizes that shall change"
        )
    before = {name: earlier[name] for name in FOLLOWED}
    for name in (*given, *PRESENT):
        OmegaConf.update(earlier, name, OmegaConf.select(config, name), merge=False, force_add=True)
    for name, old in before.items():
        _follow_change(earlier.attack, name, old, earlier[name])
    return earlier


def _follow_change(tree: DictConfig, name: str, old: Any, new: Any) -> None:
    """Give attacks the present value of what they have from the whole audit, as conf/ does."""
    for key in tree:
        if key == name and tree[key] == old:
            tree[key] = new
        elif isinstance(tree[key], DictConfig):
            _follow_change(tree[key], name, old, new)


def _read_earlier(named: str) -> tuple[Path, DictConfig]:
    path = home(named)
    file = path / CONFIG if path.is_dir() else path
    try:
        return file, OmegaConf.create(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(
            f"again={named}: it cannot be read; name the folder of an audit, or its {CONFIG}"
        ) from error

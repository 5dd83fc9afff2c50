"""Hydra composes thousands of configs for the tests: what two have in common is worked out once.

Files are read once, and chosen and merged once for each choice; values are set each time, by Hydra.
What was composed is kept pickled: a copy then takes a tenth of the time of `copy.deepcopy`.
"""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Sequence
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import DefaultsList, create_defaults_list
from omegaconf import DictConfig, base

from benchmark.config.build import CONF
from benchmark.sweep.compose import Files

FILES: dict[str, Files] = {}
CHOSEN: dict[tuple[str, ...], DefaultsList] = {}
MERGED: dict[str, DictConfig] = {}
MERGE = ConfigLoaderImpl._compose_config_from_defaults_list


def install() -> None:
    """Have Hydra compose so, and OmegaConf read each `${...}` once."""
    config_loader_impl.ConfigRepository = open_files  # type: ignore[misc, assignment]
    config_loader_impl.create_defaults_list = choose_files  # type: ignore[assignment]
    ConfigLoaderImpl._compose_config_from_defaults_list = merge_files  # type: ignore[method-assign]
    base.parse = cache(base.parse)  # type: ignore[attr-defined]


def composed(name: str, words: Sequence[str]) -> DictConfig:
    """A config for a test to change."""
    found: DictConfig = pickle.loads(_composed(name, tuple(words)))
    return found


@cache
def _composed(name: str, words: tuple[str, ...]) -> bytes:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return pickle.dumps(compose(name, list(words)))


def open_files(config_search_path: Any) -> Files:
    """What Hydra reads files by. Where a test has a conf/ of its own, the path is another one."""
    key = str(config_search_path)
    if key not in FILES:
        FILES[key] = Files(ConfigRepository(config_search_path))
    return FILES[key]


def choose_files(repo: Any, config_name: Any, overrides_list: Any, **how: Any) -> DefaultsList:
    """The files that a config is made of; beside them the values that are set afterwards."""
    given = [word for word in overrides_list if not word.is_sweep_override()]
    values = [
        word
        for word in given
        if isinstance(word.value(), dict) or not repo.group_exists(word.key_or_group)
    ]
    choices = [word for word in given if word not in values]
    lines = (word.input_line for word in choices)
    key = (str(repo.get_sources()), str(config_name), str(how), *lines)
    if key not in CHOSEN:
        CHOSEN[key] = create_defaults_list(repo, config_name, choices, **how)
    return dataclasses.replace(CHOSEN[key], config_overrides=values)


def merge_files(loader: ConfigLoaderImpl, defaults: Any, repo: Any) -> DictConfig:
    """The files of a config as one."""
    key = f"{repo.get_sources()} {defaults}"
    if key not in MERGED:
        MERGED[key] = MERGE(loader, defaults, repo)
    return copy.deepcopy(MERGED[key])

"""What the configuration means: resolvers, and errors before any work is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from victims.access import UserError


def register_resolvers() -> None:
    """Make `${at_scale:{smoke:..,laptop:..,paper:..}}` and `${at_most:a,b}` known."""
    OmegaConf.register_new_resolver("at_scale", at_scale, replace=True)
    OmegaConf.register_new_resolver("at_most", min, replace=True)


def at_scale(values: Mapping[str, Any], *, _root_: Any) -> Any:
    """The entry for the selected scale; sizes stand beside what they size."""
    scale = _root_.scale.name
    if scale not in values:
        raise UserError(f"scale={scale}: allowed here are {', '.join(values)}")
    return values[scale]


def build(config: DictConfig, setting: str, **given: Any) -> Any:
    """Instantiate a config's `_target_`; a mistake in it becomes one line naming the setting."""
    try:
        return instantiate(config, **given)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        reason = cause if cause is not None else str(error).splitlines()[0]
        raise UserError(f"{setting}: {reason}") from error


def build_all(configs: DictConfig, setting: str) -> dict[str, Any]:
    """Instantiate each entry of a group that several files were selected from."""
    return {str(name): build(config, f"{setting}.{name!s}") for name, config in configs.items()}


def one_line(error: Exception) -> str:
    """What an error says in one line, for the person who made it."""
    if isinstance(error, ConfigAttributeError | ConfigKeyError) and error.full_key:
        return (
            f"{error.full_key}: the config has no such setting; "
            f"if another version of the benchmark wrote it, compare it with conf/config.yaml"
        )
    return (str(error).strip() or type(error).__name__).splitlines()[0]

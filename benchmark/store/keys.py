"""The name of whatever a config determines: a hash of its canonical form."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from victims.errors import UserError

ASIDE = ("machine", "logger", "sweep", "plan", "study", "again")
"""Parts of a config that never change a result, but for `machine.precision`."""


def settings(config: Any) -> dict[str, Any]:
    """The resolved config without what never changes a result; of `machine` the precision stays.

    `copies` counts where it is no default, so that keys of before there was a choice hold; but for
    the place of its file, whose content is always the same.
    """
    precision = config["machine"]["precision"]  # of another version's config, this may be missing
    kept: dict[str, Any] = plain(config)
    own = {name: value for name, value in kept.items() if name not in ASIDE}
    chosen = {name: value for name, value in own.pop("copies", {}).items() if name != "file"}
    return own | ({"copies": chosen} if chosen else {}) | {"precision": precision}


def code_of_package(victim: Mapping[str, Any]) -> dict[str, str]:
    """What a victim that is made by anybody's code adds to keys: a hash of the file of that code.

    victim: its settings; of `victim=package`, `make` names the code. What the file imports does not
    count.
    """
    if not victim.get("make"):
        return {}
    sys.path.insert(0, "")  # a module of the working folder, as `victims.given.networks` imports it
    try:
        found = find_spec(str(victim["make"]).partition(":")[0])
        return {"code": sha256(Path(str(found and found.origin)).read_bytes()).hexdigest()}
    except (ImportError, ValueError, OSError):
        return {}  # making it says what is wrong
    finally:
        sys.path.remove("")


def plain(config: Any, where: str = "config") -> Any:
    """A config as dicts, lists, text, bools, finite numbers and None; a DictConfig is resolved.

    Raises UserError naming the place of anything else.
    """
    if OmegaConf.is_config(config):
        try:
            config = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            raise UserError(f"{where}: {str(error).splitlines()[0]}") from error
    if isinstance(config, Mapping):
        if odd := [name for name in config if type(name) is not str]:
            raise UserError(f"{where}: the name {odd[0]!r} is no text")
        return {name: plain(value, f"{where}.{name}") for name, value in config.items()}
    if isinstance(config, list | tuple):
        return [plain(value, f"{where}[{i}]") for i, value in enumerate(config)]
    if config is None or type(config) in (str, bool, int):
        return config
    if type(config) is float and math.isfinite(config):
        return config
    raise UserError(
        f"{where}={config!r} ({type(config).__name__}): "
        f"allowed are text, finite numbers, true, false, null, lists and mappings"
    )


def key(config: Any) -> str:
    """The name of what `config` determines: sha256 (64 hex digits) of its canonical JSON.

    config: dict or DictConfig; the order of its keys does not matter, 1 and 1.0 differ.
    Raises UserError for values that have no such form, see `plain`.
    """
    text = json.dumps(plain(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()

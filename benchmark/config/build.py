"""What the configuration means: resolvers, and errors before any work is done."""

from __future__ import annotations

import json
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from functools import cache
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Generic, TypeVar, get_type_hints, is_typeddict

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.errors import (
    InstantiationException,
)
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from benchmark.store.keys import plain
from victims.errors import UserError

T = TypeVar("T")


def beside(name: str) -> Path:
    """A folder at the top of a checkout; in an installed package it lies within `benchmark`."""
    inside, outside = (Path(__file__).parents[i] / name for i in (1, 2))
    return inside if inside.is_dir() else outside


CONF = beside("conf")


def own_conf() -> list[str]:
    """For Hydra's search path: the folder `conf` where the command was called, if a user has one.

    Its files are choices beside the package's; where names are equal, the package's file counts.
    """
    own = Path.cwd() / "conf"
    return [f"file://{own}"] if own.is_dir() and own.resolve() != CONF.resolve() else []


@contextmanager
def composing() -> Iterator[None]:
    """Hydra for composing our configs; that of an application which called us stays as it is."""
    before = dict(Singleton._instances)
    Singleton._instances.pop(GlobalHydra, None)
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            yield
    finally:
        Singleton._instances.clear()
        Singleton._instances.update(before)


def build(config: DictConfig, setting: str, **given: Any) -> Any:
    """Instantiate a config's `_target_`; a mistake in it becomes one line naming the setting.

    Every value must be of the kind, and in the range, that the constructor's annotation says.
    """
    check_values(config, setting, given)
    return _instantiate_named(config, setting, given)


def _instantiate_named(config: Any, setting: str, given: Mapping[str, Any]) -> Any:
    try:
        return instantiate(config, **given)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        reason = _with_line(cause) if cause is not None else _in_one_line(error)
        raise UserError(f"{setting}: {reason}") from error


@dataclass(frozen=True)
class Chosen(Generic[T]):
    """What a config names, built, and the settings that keys are made of."""

    made: T
    settings: dict[str, Any]


def choose_one(config: DictConfig, setting: str, **given: Any) -> Chosen[Any]:
    """Build what a config names, and keep its settings beside it."""
    return Chosen(build(config, setting, **given), plain(config))


@dataclass(frozen=True)
class Factory(Generic[T]):
    """Builds what a config names as often as it is asked to, a fresh one each time.

    kind: the class. settings: those that keys are made of. setting: where the config has them.
    """

    kind: type[T]
    settings: dict[str, Any]
    setting: str

    def build(self, **given: Any) -> T:
        """A fresh one. given: what its constructor takes beside the settings."""
        made: T = _instantiate_named(self.settings, self.setting, given)
        return made

    def takes(self, name: str) -> bool:
        """Whether the constructor has a parameter of this name."""
        kind: Any = self.kind  # mypy takes no `type[T]` for hashable
        return name in _parameters_of(kind)


def factory_of(config: DictConfig, setting: str) -> Factory[Any]:
    """A factory of what a config names; its values are checked here, by their annotations."""
    check_values(config, setting)
    return Factory(resolve_name(config["_target_"]), plain(config), setting)


def fill_in(tree: DictConfig, name: str, value: Any, setting: str) -> None:
    """Give every part below a config that takes an argument of this name, and has none, a value."""
    for key, part in tree.items():
        if isinstance(part, DictConfig):
            own = f"{setting}.{key!s}"
            fill_in(part, name, value, own)
            if "_target_" in part and name not in part and factory_of(part, own).takes(name):
                part[name] = value


def check(setting: str, value: Any, wanted: Any) -> None:
    """Raise UserError where a setting's value is not what an annotation asks for.

    A whole number can stand for a float, but 1e3 for no whole number; a list can stand for a tuple
    or a set, a text for a path. What pydantic cannot check is not checked.
    """
    from pydantic import ValidationError

    adapter = _adapter_of(wanted)
    if adapter is None:
        return
    is_config = OmegaConf.is_config(value)
    plain = OmegaConf.to_container(value, resolve=True) if is_config else value
    with suppress(ValidationError, TypeError):
        adapter.validate_python(value)
        return
    with suppress(ValidationError, TypeError):  # JSON knows lists only: they can be anything
        adapter.validate_json(json.dumps(plain), strict=True)
        return
    try:
        adapter.validate_python(plain)
    except ValidationError as error:
        messages = [detail["msg"] for detail in error.errors()]
        reasons = "; or ".join(f"{text[0].lower()}{text[1:]}" for text in dict.fromkeys(messages))
        raise UserError(f"{setting}={value}: {reasons}") from error


def _adapter_of(wanted: Any) -> Any:
    """What checks values by an annotation, made once for each; None where pydantic cannot."""
    try:
        hash(wanted)
    except TypeError:
        return _make_adapter.__wrapped__(wanted)
    return _make_adapter(wanted)


@cache
def _make_adapter(wanted: Any) -> Any:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter
    from pydantic_core import SchemaError

    rules = ConfigDict(strict=True, arbitrary_types_allowed=True)
    own = is_dataclass(wanted) or is_typeddict(wanted)  # these say how they are checked
    with suppress(PydanticUserError, SchemaError):
        return TypeAdapter(wanted, config=None if own else rules)
    return None


def check_values(config: DictConfig, setting: str, given: Collection[str] = ()) -> None:
    """Check every value of a config by the annotations of its `_target_`, but those `given`."""
    if not isinstance(config, DictConfig) or "_target_" not in config:
        raise UserError(f"{setting}={config}: choose one of the files in conf/, by its name")
    try:
        target = resolve_name(config["_target_"])
    except Exception as error:  # whatever a module of the user's raises when it is imported
        reason = f"{type(error).__name__}: {_in_one_line(error)}"
        raise UserError(f"{setting}._target_={config['_target_']}: {reason}") from error
    wanted, names = _annotations_of(target), _parameters_of(target)
    for name, value in config.items():
        if names and not str(name).startswith("_") and name not in names:
            near = get_close_matches(str(name), names, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(names))}"
            raise UserError(f"{setting}.{name!s}: there is no such setting; {hint}")
        if isinstance(value, DictConfig) and "_target_" in value:
            check_values(value, f"{setting}.{name!s}")
        elif name in wanted and name not in given:
            check(f"{setting}.{name!s}", value, wanted[str(name)])


@cache
def _annotations_of(target: Any) -> dict[str, Any]:
    """Of the parameters of a class's constructor, those of its bases included, or of a function."""
    bases = [vars(base).get("__init__") for base in reversed(getattr(target, "__mro__", ()))]
    found: dict[str, Any] = {}
    for function in [base for base in bases if base] or [target]:
        with suppress(NameError, TypeError):  # annotations that only a type checker can read
            found |= get_type_hints(function, include_extras=True)
    return found


@cache
def _parameters_of(target: Any) -> set[str]:
    """What a class's constructor or a function takes; empty where that is not known."""
    try:
        found = signature(target).parameters.values()
    except (ValueError, TypeError):
        return set()
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in found)
    return set() if every else {parameter.name for parameter in found}


def _with_line(error: BaseException) -> str:
    """An error that nobody foresaw, in one line with the line of code that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    ours = [frame for frame in last if "hydra" not in Path(frame.filename).parts]
    place = "".join(f" ({frame.filename}, line {frame.lineno})" for frame in ours)
    return f"{type(error).__name__}: {error}{place}"


def _in_one_line(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines())


def build_all(configs: DictConfig, setting: str) -> dict[str, Any]:
    """Instantiate each entry of a group that several files were selected from."""
    return {str(name): build(config, f"{setting}.{name!s}") for name, config in configs.items()}


def choices(group: str) -> list[str]:
    """The files of a config group, by name; none where it is no group."""
    folders = [CONF, *(Path(own.removeprefix("file://")) for own in own_conf())] if group else []
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})

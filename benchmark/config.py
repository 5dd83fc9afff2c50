"""What the configuration means: resolvers, and errors before any work is done."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, get_type_hints, is_typeddict

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    OmegaConfBaseException,
)

from benchmark.folders import free, with_home
from victims.access import UserError

CONF = Path(__file__).parents[1] / "conf"


def register_resolvers() -> None:
    """Make `${at_scale:{smoke:..,laptop:..,paper:..}}`, `${at_most:a,b}`, `${free:..}` known."""
    OmegaConf.register_new_resolver("at_scale", at_scale, replace=True)
    OmegaConf.register_new_resolver("at_most", min, replace=True)
    OmegaConf.register_new_resolver("free", free, replace=True, use_cache=True)  # as `now` does


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


def at_scale(values: Mapping[str, Any], *, _root_: Any) -> Any:
    """The entry for the selected scale; sizes stand beside what they size."""
    scale = _root_.scale.name
    if scale not in values:
        raise UserError(f"scale={scale}: allowed here are {', '.join(values)}")
    return values[scale]


def build(config: DictConfig, setting: str, **given: Any) -> Any:
    """Instantiate a config's `_target_`; a mistake in it becomes one line naming the setting.

    Every value must be of the kind, and in the range, that the constructor's annotation says.
    """
    try:
        check_values(config, setting, given)
        return instantiate(config, **given)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        reason = _where(cause) if cause is not None else _joined(error)
        raise UserError(f"{setting}: {reason}") from error


def check(setting: str, value: Any, wanted: Any) -> None:
    """Raise UserError where a setting's value is not what an annotation asks for.

    A whole number can stand for a float, but 1e3 for no whole number; a list can stand for a tuple
    or a set, a text for a path. What pydantic cannot check is not checked.
    """
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
    from pydantic_core import SchemaError

    rules = ConfigDict(strict=True, arbitrary_types_allowed=True)
    own = is_dataclass(wanted) or is_typeddict(wanted)  # these say how they are checked
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(wanted, config=None if own else rules)
    except (PydanticUserError, SchemaError):
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


def check_values(config: DictConfig, setting: str, given: Collection[str] = ()) -> None:
    """Check every value of a config by the annotations of its `_target_`, but those `given`."""
    if not isinstance(config, DictConfig) or "_target_" not in config:
        raise UserError(f"{setting}={config}: choose one of the files in conf/, by its name")
    try:
        target = resolve_name(config["_target_"])
    except Exception as error:  # whatever a module of the user's raises when it is imported
        reason = f"{type(error).__name__}: {_joined(error)}"
        raise UserError(f"{setting}._target_={config['_target_']}: {reason}") from error
    wanted, names = _annotations(target), _parameters(target)
    for name, value in config.items():
        if names and not str(name).startswith("_") and name not in names:
            near = get_close_matches(str(name), names, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(names))}"
            raise UserError(f"{setting}.{name!s}: there is no such setting; {hint}")
        if isinstance(value, DictConfig) and "_target_" in value:
            check_values(value, f"{setting}.{name!s}")
        elif name in wanted and name not in given:
            check(f"{setting}.{name!s}", value, wanted[str(name)])


def _annotations(target: Any) -> dict[str, Any]:
    """Of the parameters of a class's constructor, those of its bases included, or of a function."""
    bases = [vars(base).get("__init__") for base in reversed(getattr(target, "__mro__", ()))]
    found: dict[str, Any] = {}
    for function in [base for base in bases if base] or [target]:
        with suppress(NameError, TypeError):  # annotations that only a type checker can read
            found |= get_type_hints(function, include_extras=True)
    return found


def _parameters(target: Any) -> set[str]:
    """What a class's constructor or a function takes; empty where that is not known."""
    try:
        found = signature(target).parameters.values()
    except (ValueError, TypeError):
        return set()
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in found)
    return set() if every else {parameter.name for parameter in found}


def _where(error: BaseException) -> str:
    """An error that nobody foresaw, in one line with the line of code that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    ours = [frame for frame in last if "hydra" not in Path(frame.filename).parts]
    place = "".join(f" ({frame.filename}, line {frame.lineno})" for frame in ours)
    return f"{type(error).__name__}: {error}{place}"


def _joined(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines())


def build_all(configs: DictConfig, setting: str) -> dict[str, Any]:
    """Instantiate each entry of a group that several files were selected from."""
    return {str(name): build(config, f"{setting}.{name!s}") for name, config in configs.items()}


def run(main: Callable[[], None]) -> None:
    """Run a function that Hydra decorated; a mistake in the command line is one line, exit code 2.

    Left to itself, Hydra ends the process with code 1 and what takes it up to twenty lines. Jobs
    that a cluster does not take are such a mistake too.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        sys.argv[1:] = with_home(sys.argv[1:])
        refuse_nothing(sys.argv[1:])
        main()
    except Exception as error:
        if not (line := _mistake(error)):
            raise
        print(f"error: {line}", file=sys.stderr, flush=True)
        sys.exit(2)


def _mistake(error: Exception) -> str:
    """What an error says if the command line, or where it was given, is to blame; else nothing."""
    submitit = sys.modules.get("submitit.core.utils")
    refused = isinstance(error.__cause__, subprocess.CalledProcessError)
    if submitit is not None and isinstance(error, submitit.FailedJobError) and refused:
        return f"the cluster did not take the jobs: {_joined(error)}"
    if isinstance(error, RuntimeError) and "srun" in str(error):
        return "machine=slurm: this computer has no srun, so it is no node of a SLURM cluster"
    if isinstance(error, InterpolationResolutionError) and "UserError raised" in str(error):
        return str(error).splitlines()[0].split("interpolation: ", 1)[-1]
    if isinstance(error, HydraException | OmegaConfBaseException | UserError):
        return one_line(error)
    if isinstance(error, OSError) and _by_hydra(error):  # before the job: its folder, its log
        return f"{error.filename}: {error.strerror}; choose a folder that can be written"
    return ""


def _by_hydra(error: BaseException) -> bool:
    """Whether it was met before any code of a job or an audit ran."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    return {file.name for file in files if file.parent == Path(__file__).parent} == {"config.py"}


def refuse_nothing(words: Sequence[str]) -> None:
    """Raise UserError for `group=null`: of these groups one file, or a list, must be chosen."""
    for word in words:
        name, equals, value = word.partition("=")
        if equals and value in ("", "null") and (files := choices(name.lstrip("+"))):
            none = next((file for file in files if file in ("none", "off")), None)
            hint = f" ({name}={none} for nothing)" if none else ""
            raise UserError(f"{word}: a file is needed; choose of {', '.join(files)}{hint}")


def one_line(error: Exception) -> str:
    """What an error says in one line, for the person who made it."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice}: there is no such choice; allowed are {', '.join(choices(group))}"
    if swept := re.match(r"Ambiguous value for argument '(([^=]+)=(.*))'", str(error)):
        word, name, value = swept.groups()
        return f"{word}: write {name}=[{value}] for a list, or add -m to run one job for each"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: this cannot be read: {str(error).splitlines()[0]}"
    if isinstance(error, HydraException) and isinstance(cause, NO_SUCH) and cause.full_key:
        return f"{cause.full_key}: there is no such setting{_meant(cause)}"
    if isinstance(error, ConfigCompositionException) and "defaults list" in str(error):
        return _joined(error)
    if isinstance(error, NO_SUCH) and (files := choices(str(error.full_key))):
        allowed = ", ".join(files)
        return f"{error.full_key}: nothing is chosen; choose of {allowed} ({ANOTHER_VERSION})"
    if isinstance(error, NO_SUCH) and error.full_key:
        return f"{error.full_key}: the config has no such setting; {ANOTHER_VERSION}"
    return (str(error).strip() or type(error).__name__).splitlines()[0]


NO_SUCH = ConfigAttributeError, ConfigKeyError

ANOTHER_VERSION = (
    "if another version of the benchmark wrote this config, compare it with conf/config.yaml"
)


ASIDE = ("hydra", "given")
"""Parts of a config that nobody sets by their name; what an audit is given stands for itself."""


def _meant(error: OmegaConfBaseException) -> str:
    """What was probably meant by a setting, or else what there is."""
    path, _, name = str(error.full_key).rpartition(".")
    node = error.parent_node or {}
    there = [str(key) for key in (*node, *(node.get("given") or ())) if key not in ASIDE]
    near = get_close_matches(name, there, 1)
    if near:
        return f"; did you mean {f'{path}.' if path else ''}{near[0]}?"
    if not there and (files := choices(path)):
        has = ", ".join(files)
        return f" in the chosen file of conf/{path}/; it has {has}: {path}=FILE chooses another"
    return f"; {path or 'a config'} has {', '.join(there)}" if there else ""


def choices(group: str) -> list[str]:
    """The files of a config group, by name; none where it is no group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml")) if group else []

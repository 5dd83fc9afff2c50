"""From a command line to a config; a mistake in it is one line."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import re
import shlex
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    OmegaConfBaseException,
)

from benchmark.config.build import CONF, _in_one_line, choices, own_conf
from benchmark.config.quoting import pasted, places_quoted, quoted
from benchmark.store.folders import free, with_home
from victims.errors import UserError


def register_resolvers() -> None:
    """Make `${at_scale:{smoke:..,laptop:..,paper:..}}`, `${at_most:a,b}` and others known."""
    OmegaConf.register_new_resolver("own_conf", own_conf, replace=True)
    OmegaConf.register_new_resolver("at_scale", at_scale, replace=True)
    OmegaConf.register_new_resolver("at_most", min, replace=True)
    OmegaConf.register_new_resolver("free", free, replace=True, use_cache=True)  # as `now` does


def at_scale(values: Mapping[str, Any], *, _root_: Any) -> Any:
    """The entry for the selected scale; sizes stand beside what they size."""
    scale = _root_.scale.name
    if scale not in values:
        raise UserError(f"scale={scale}: allowed here are {', '.join(values)}")
    return values[scale]


def run(main: Callable[[], None]) -> None:
    """Run a function that Hydra decorated; a mistake in the command line is one line, exit code 2.

    Left to itself, Hydra ends the process with code 1 and what takes it up to twenty lines. Jobs
    that a cluster does not take are such a mistake too.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    if own_conf() and not {"", os.getcwd()} & {*sys.path}:
        sys.path.append(os.getcwd())  # as `python -m` has it: classes that a user's files name
    try:
        sys.argv[1:] = places_quoted(with_home(sys.argv[1:]))
        refuse_mistakes(sys.argv[1:])
        main()
    except Exception as error:
        if not (line := _mistake_in(error)):
            raise
        print(f"error: {line}", file=sys.stderr, flush=True)
        sys.exit(2)


def and_end(command: Callable[[], None]) -> None:
    """Run a command, and end the process without unloading the libraries.

    Unloading torch takes a second and 120 MiB, in which nothing happens that anyone waits for.
    """
    code: Any = 0
    try:
        command()
    except SystemExit as stop:
        code = 0 if stop.code is None else stop.code
    threads = [own for own in threading.enumerate()[1:] if not own.daemon]
    if threads or multiprocessing.active_children() or not isinstance(code, int):
        sys.exit(code)  # the ordinary end waits, stops a sweep's processes, and prints words
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it was closed: >&-
        stream.flush()
    os._exit(code)


def _mistake_in(error: Exception) -> str:
    """What an error says if the command line, or where it was given, is to blame; else nothing."""
    submitit = sys.modules.get("submitit.core.utils")
    refused = isinstance(error.__cause__, subprocess.CalledProcessError)
    if submitit is not None and isinstance(error, submitit.FailedJobError) and refused:
        return f"the cluster did not take the jobs: {_in_one_line(error)}"
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
    ours = {file for file in files if Path(__file__).parents[1] in file.parents}
    return ours == {Path(__file__)}


def refuse_mistakes(words: Sequence[str]) -> None:
    """Raise UserError for what Hydra would take, and nobody means.

    That is `group=null`, a new setting of a name that nothing reads, and several sweeps.
    """
    refuse_nothing(words)
    for word in words:
        name = re.split("[=.@/]", word.lstrip("+"), maxsplit=1)[0]
        if word.startswith("+") and name not in (known := _first_names()) and not choices(name):
            near = get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UserError(f"{word}: there is no setting {name}; {meant}")
    sweeps = [word for word in words if word.lstrip("+").startswith("sweep=")]
    if len(sweeps) > 1 or any(set(word) & {*",["} for word in sweeps):
        raise UserError(
            f"{' '.join(sweeps)}: a command runs one sweep; write one command for each, "
            f"or +sweep=all"
        )


@cache
def _first_names() -> list[str]:
    """With what the name of a setting may begin, of a job or of an audit."""
    files = [OmegaConf.load(CONF / f"{name}.yaml") for name in ("config", "audit")]
    keys = {str(key) for file in files for key in file if key != "defaults"}
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    return sorted(keys | groups | {"study"})


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
        return _list_or_sweep(*swept.groups())
    if isinstance(error, OverrideParseException):
        word = str(error.override)
        reason = f"{str(error).splitlines()[0]}{_as_meant(word)}"
        return f"{word}: this cannot be read: {reason if '=' in word else 'write NAME=VALUE'}"
    if isinstance(error, HydraException) and isinstance(cause, NO_SUCH) and cause.full_key:
        return f"{cause.full_key}: there is no such setting{_probably_meant(cause)}"
    if unset := re.search(r"To append to your default list use (\+(\S+))", str(error)):
        name = unset[2].partition("=")[0]
        return f"{name}: nothing of this kind is chosen by default; write {unset[1]}"
    if isinstance(error, ConfigCompositionException) and "defaults list" in str(error):
        return _in_one_line(error)
    if isinstance(error, NO_SUCH) and (files := choices(str(error.full_key))):
        allowed = ", ".join(files)
        return f"{error.full_key}: nothing is chosen; choose of {allowed} ({ANOTHER_VERSION})"
    if isinstance(error, NO_SUCH) and error.full_key:
        return f"{error.full_key}: the config has no such setting; {ANOTHER_VERSION}"
    return (str(error).strip() or type(error).__name__).splitlines()[0]


LISTS = ("attack", "calibration", "ensemble")
"""Groups of which several files can be chosen."""


def _list_or_sweep(word: str, name: str, value: str) -> str:
    """What several values are: a list, a job for each, or one of the two."""
    if name in LISTS:
        return f"{word}: write {name}=[{value}] for a list, or add -m to run one job for each"
    sweep = f"{word}: add -m to run one job for each"
    is_one = name == "seed" or choices(name)
    return sweep if is_one else f"{sweep}; a setting that takes a list is written {name}=[{value}]"


def _as_meant(word: str) -> str:
    """How a word that is no override may have been meant, quoted so that it can be pasted."""
    name, _, value = word.partition("=")
    is_list = value.startswith("[") and value.endswith("]")
    inside = value[1:-1] if is_list else value
    if not name.replace(".", "").replace("_", "").isalnum() or set(inside) & set("'\"\\[]{}"):
        return ""
    if is_list:
        return f"; for a list of these names write {pasted(name, *inside.split(','))}"
    return f"; for the text itself write {shlex.quote(f'{name}={quoted(value)}')}"


NO_SUCH = ConfigAttributeError, ConfigKeyError


ANOTHER_VERSION = (
    "if another version of the benchmark wrote this config, compare it with conf/config.yaml"
)


ASIDE = ("hydra", "given")
"""Parts of a config that nobody sets by their name; what an audit is given stands for itself."""


def _probably_meant(error: OmegaConfBaseException) -> str:
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


def command(settings: Mapping[str, Any]) -> str:
    """The shell command that runs the job of this config, and no other of its sweep, again."""
    if not HydraConfig.initialized():
        return "python -m benchmark"
    hydra = HydraConfig.get()
    own = [word for word in hydra.overrides.hydra if not word.startswith("hydra.mode=")]
    words = alone(hydra.overrides.task, settings)
    many = ["-m"] if hydra.mode == RunMode.MULTIRUN else []
    return shlex.join(["python", "-m", "benchmark", *own, *words, *many])


def alone(words: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """The words that run one job of a sweep: the parts of its study shall not be run with them.

    settings: the job's config.
    """
    has_parts = (settings.get("study") or {}).get("parts")
    return [*words, "study.parts=null"] if has_parts else [*words]

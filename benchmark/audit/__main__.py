"""`python -m benchmark.audit members=... non_members=... samples=...`: audit a generator.

Exit codes: 0 the audit is done, 2 something cannot be used (one line says what), 3 a limit of
fail_if is exceeded. A sweep (-m) runs all its audits and ends with the largest of their codes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from benchmark.audit.again import restore_settings
from benchmark.audit.arguments import as_overrides
from benchmark.audit.many import leave_note
from benchmark.config import imports
from benchmark.config.build import CONF
from benchmark.config.commandline import and_end, one_line, register_resolvers, run
from benchmark.store.folders import claim
from victims.errors import UserError

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="audit")
def command(config: DictConfig) -> None:
    """Audit, print, write the page. In a sweep, an audit that fails does not end the others."""
    many = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        code, line = _run_audit(config)
    except (UserError, OmegaConfBaseException) as error:
        code, line = 2, one_line(error)
        print(f"error: {line}", file=sys.stderr)
    except Exception as error:
        if not many:
            raise
        code, line = 1, f"{type(error).__name__}: {one_line(error)}"
        log.exception("this audit failed")
    if many:
        leave_note(code, line)
    elif code:
        sys.exit(code)


def _run_audit(config: DictConfig) -> tuple[int, str]:
    """The exit code, and what came out in one line."""
    with imports.kept_for_good():  # torch takes seconds to import; --help needs none of it
        from benchmark.audit import same
        from benchmark.audit.request import open_request
        from benchmark.audit.run import run_audit
        from benchmark.audit.suspects import run_set_audit
        from benchmark.show import terminal

    folder = Path(HydraConfig.get().runtime.output_dir)
    config = restore_settings(config, HydraConfig.get().overrides.task)
    given = {str(name): path for name, path in config.given.items() if path is not None}
    request = open_request(config, given)
    lock, inputs = claim(folder, request.repeatable_settings), same.hash_inputs(given)
    same.refuse_other_inputs(folder, inputs)
    run_one = run_set_audit if request.asks_about_set else run_audit
    found = run_one(request, terminal.wide_console())
    found.print()
    page = found.write(folder)
    same.note_inputs(folder, inputs)
    print(f"page: {page.absolute().as_uri()}\nverdict and scores: {folder.absolute()}")
    lock.release()
    return found.exit_code, "; ".join([found.word, *found.exceeded.values()])


def main(words: Sequence[str] | None = None) -> None:
    """The command with these arguments, or with those of the process."""
    sys.argv[1:] = as_overrides(sys.argv[1:] if words is None else words)
    register_resolvers()
    run(command)


def main_and_end() -> None:
    """The command, and the end of the process."""
    and_end(main)


if __name__ == "__main__":
    main_and_end()

"""`python -m benchmark.audit members=... non_members=... samples=...`: audit a generator.

Exit codes: 0 the audit is done, 2 something cannot be used (one line says what), 3 a limit of
fail_if is exceeded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from benchmark.audit.arguments import as_overrides
from benchmark.config import CONF, one_line, register_resolvers, run
from victims.access import UserError


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="audit")
def command(config: DictConfig) -> None:
    """Audit, print, write the page."""
    try:
        code = _audit(config)
    except (UserError, OmegaConfBaseException) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        code = 2
    if code:  # an exit with 0 would end a sweep too
        sys.exit(code)


def _audit(config: DictConfig) -> int:
    from benchmark import output  # torch takes seconds to import; --help needs none of it
    from benchmark.audit import report

    given = {name: path for name, path in config.given.items() if path is not None}
    found = report.run(config, {str(name): path for name, path in given.items()}, output.terminal())
    found.print()
    folder = Path(HydraConfig.get().runtime.output_dir)
    page = found.write(folder)
    print(f"page: {page.absolute().as_uri()}\nverdict and scores: {folder.absolute()}")
    return found.exit_code


def main(words: Sequence[str]) -> None:
    """The command with these arguments."""
    sys.argv[1:] = as_overrides(words)
    register_resolvers()
    run(command)


if __name__ == "__main__":
    main(sys.argv[1:])

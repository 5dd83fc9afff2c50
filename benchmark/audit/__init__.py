"""Audit a generator of your own: `audit(...)` in Python, `python -m benchmark.audit` in a shell.

from benchmark.audit import audit
found = audit(members=train, non_members=holdout, samples=synthetic)
found.print()
found.write("audit")

`audit_set(suspects=..., unseen=..., samples=...)` asks whether a whole set was used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.audit.run import Audit, audit
    from benchmark.audit.suspects import SetAudit, audit_set
    from victims.given.diffusion import Diffusion
    from victims.given.generators import Discriminator, Generator

__all__ = [
    "Audit",
    "Diffusion",
    "Discriminator",
    "Generator",
    "SetAudit",
    "audit",
    "audit_set",
]


def __getattr__(name: str) -> Any:
    """The public names, when they are asked for: torch takes seconds to import, --help does not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from benchmark.audit import run, suspects
    from victims.given import diffusion, generators

    homes = (diffusion, generators, run, suspects)
    return next(getattr(home, name) for home in homes if name in vars(home))

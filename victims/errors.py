"""What goes wrong, in one line for the person who can mend it."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in what the user asked for; the message is one line that says how to mend it."""


class Unsuited(UserError):
    """What an attack may touch does not suffice for it, whatever the machine: its row says why."""


class NonFiniteLoss(Exception):
    """Training met a loss that is not a number or infinite; the last good checkpoint is kept."""


class NoAccess(Unsuited):
    """The victim has no such part (a VAE has no discriminator); tables show n/a for the attack."""

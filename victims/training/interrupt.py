"""Signals that wait until the work in hand can be kept."""

from __future__ import annotations

import signal
import threading
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
"""What ends a process politely: a person, the system, a lost terminal, a cluster's scheduler."""


class HeldSignals:
    """Holds signals back, so that none falls into a half-done step.

    That lasts from `hold_signals` to `release_signals`. The work asks `arrived` at every point
    where it can be kept, keeps itself, and calls `deliver_signal`: then the signal does what it
    would have done when this object was made. Ctrl-C raises KeyboardInterrupt, SIGTERM ends the
    process, a cluster's handler puts the job back into the queue. A second Ctrl-C does not wait;
    what the process ignores stays ignored. Outside the main thread, where Python allows no
    handlers, nothing is held.
    """

    def __init__(self) -> None:
        self.arrived: int | None = None
        known = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in known}
        if threading.current_thread() is not threading.main_thread():
            before = {}
        self._before = {n: h for n, h in before.items() if h not in (signal.SIG_IGN, None)}

    def hold_signals(self) -> None:
        """From now on, note signals."""
        for number in self._before:
            signal.signal(number, self._note_signal)

    def release_signals(self) -> None:
        """Put the handlers back that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def deliver_signal(self) -> None:
        """Let the signal that arrived take effect; if the process outlives it, hold the next."""
        self.release_signals()
        arrived, self.arrived = self.arrived, None
        if arrived is not None:
            signal.raise_signal(arrived)
        self.hold_signals()

    def _note_signal(self, arrived: int, _: FrameType | None) -> None:
        impatient = self.arrived == arrived == signal.SIGINT
        self.arrived = arrived
        if impatient:
            self.deliver_signal()

"""Signals that wait until the work in hand can be kept."""

from __future__ import annotations

import signal
import threading
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
"""What ends a process politely: a person, the system, a lost terminal, a cluster's scheduler."""


class HeldSignals:
    """Holds signals back from `hold` to `release`, so that none falls into a half-done step.

    The work asks `arrived` at every point where it can be kept, keeps itself, and calls `deliver`:
    then the signal does what it would have done when this object was made. Ctrl-C raises
    KeyboardInterrupt, SIGTERM ends the process, a cluster's handler puts the job back into the
    queue. A second Ctrl-C does not wait; what the process ignores stays ignored. Outside the main
    thread, where Python allows no handlers, nothing is held.
    """

    def __init__(self) -> None:
        self.arrived: int | None = None
        known = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in known}
        if threading.current_thread() is not threading.main_thread():
            before = {}
        self._before = {n: h for n, h in before.items() if h not in (signal.SIG_IGN, None)}

    def hold(self) -> None:
        """From now on, note signals."""
        for number in self._before:
            signal.signal(number, self._note)

    def release(self) -> None:
        """Put the handlers back that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def deliver(self) -> None:
        """Let the signal that arrived take effect; if the process outlives it, hold the next."""
        self.release()
        arrived, self.arrived = self.arrived, None
        if arrived is not None:
            signal.raise_signal(arrived)
        self.hold()

    def _note(self, arrived: int, _: FrameType | None) -> None:
        impatient = self.arrived == arrived == signal.SIGINT
        self.arrived = arrived
        if impatient:
            self.deliver()

"""Answers of a network that are kept, so that attacks share what they ask alike."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import torch
from torch import Tensor

ROOM = 2**29
"""Bytes of answers that are kept. What is full keeps what it has: attacks go over the queries one
after the other, and whoever dropped the oldest would drop just what is asked next."""

BESIDE = 200
"""Bytes that an answer takes beside its numbers: of a table's records this is most of it."""


class Memo:
    """A function of (record, step), row by row, that answers the same question once.

    ask: (n, *shape) and (n,) int64 -> (n, *inner) float32. room: bytes of answers that are kept.
    `asked` counts the rows that the network was really asked.
    """

    def __init__(self, ask: Callable[[Tensor, Tensor], Tensor], room: int = ROOM) -> None:
        self.ask, self.room = ask, room
        self.forget_answers()

    def forget_answers(self) -> None:
        """Forget all answers: the network is another one now."""
        self.known: dict[bytes, bytes] = {}
        self.inner: tuple[int, ...] = ()
        self.used = self.asked = 0

    @torch.no_grad()
    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Answers (n, *inner) on the device of x for records (n, *shape) at steps (n,)."""
        x = x.to(torch.float32)
        if not len(x):
            return torch.empty_like(x)
        keys = _keys_of_rows(x, t)
        places = {key: i for i, key in reversed(list(enumerate(keys))) if key not in self.known}
        new = self._find_answers(x, t, places)
        for key, answer in new.items():
            if (size := len(answer) + BESIDE) + self.used <= self.room:
                self.known[key] = answer
                self.used += size
        found = bytearray().join([new[key] if key in new else self.known[key] for key in keys])
        return torch.frombuffer(found, dtype=torch.float32).view(-1, *self.inner).to(x.device)

    def _find_answers(self, x: Tensor, t: Tensor, places: dict[bytes, int]) -> dict[bytes, bytes]:
        """The network's answers to the questions in these rows."""
        if not places:
            return {}
        self.asked += len(places)
        rows = sorted(places.values())
        answers = self.ask(x[rows], t[rows]).cpu().contiguous()
        self.inner = tuple(answers.shape[1:])
        keys = sorted(places, key=places.__getitem__)
        return {key: row.tobytes() for key, row in zip(keys, answers.numpy(), strict=True)}


def _keys_of_rows(x: Tensor, t: Tensor) -> list[bytes]:
    return [
        blake2b(row, digest_size=16).digest() + b"%d" % step
        for row, step in zip(x.cpu().contiguous().numpy(), t.tolist(), strict=True)
    ]

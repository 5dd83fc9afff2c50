"""Cells that stand for a missing value because `records.missing` says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmark.audit.given.arrays import first_few
from benchmark.data.notation import CODE, MISSING, PLAIN
from victims.errors import UserError


class Markers:
    """The markers of `records.missing`, and which of them some cell was.

    A marker that is a number is compared as one in columns of numbers, elsewhere as text. Codes
    with leading zeros, such as 007, are text only.
    """

    def __init__(self, missing: Sequence[str]):
        self.texts = [str(marker).strip() for marker in missing]
        self.numbers = {text: float(text) for text in self.texts if _is_number(text)}
        self.found: set[str] = set()

    def blank_texts(self, cells: np.ndarray) -> np.ndarray:
        """Cells (n,) of text, "" where one is missing; whole numbers may end in `.0` in a marker
        and not in a cell."""
        known = {text: text for text in self.texts}
        for text, number in self.numbers.items():
            if number.is_integer():
                known.setdefault(str(int(number)), text)
        self.found |= {known[cell] for cell in set(cells) & known.keys()}
        gone = MISSING | known.keys()
        return np.array(["" if cell in gone else cell for cell in cells], object)

    def blank_numbers(self, values: np.ndarray, stored: pd.Series) -> np.ndarray:
        """Numbers (n,) float64, NaN where one is missing; stored: the same in their own type."""
        kind = getattr(stored.dtype, "numpy_dtype", stored.dtype)
        if pd.api.types.is_bool_dtype(kind):
            return values
        for text, number in self.numbers.items():
            if pd.api.types.is_float_dtype(kind):
                number = float(kind.type(number))
            if (same := values == number).any():
                self.found.add(text)
                values = np.where(same, np.nan, values)
        return values

    def blank_known(self, known: Mapping[str, float]) -> dict[str, float]:
        """The numbers that texts mean, NaN where one is missing; true and false are none."""
        texts = {number: text for text, number in self.numbers.items()}
        same = {t for t, n in known.items() if n in texts and t.lower() not in ("true", "false")}
        self.found |= {texts[known[text]] for text in same}
        return {text: np.nan if text in same else number for text, number in known.items()}

    def refuse_idle(self) -> None:
        """Raise UserError for markers that no cell was, once all columns were read."""
        idle = [t for t in dict.fromkeys(self.texts) if t not in self.found and t not in MISSING]
        if idle:
            raise UserError(
                f"records.missing: no compared cell of any input is {first_few(idle)}; is it "
                f"written in another way? Else leave it out"
            )


def _is_number(text: str) -> bool:
    """Whether a marker is a finite number, and no code with leading zeros."""
    plain = PLAIN.fullmatch(text) is not None and CODE.fullmatch(text) is None
    return plain and bool(np.isfinite(float(text)))

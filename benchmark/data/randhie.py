"""RAND Health Insurance Experiment: a real health table that comes inside `statsmodels`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from benchmark.data.table import Bins, Encoding, Table
from victims.errors import UserError

FILE = "datasets/randhie/src/randhie.csv"
DOLLARS = ("income", "outpdol", "drugdol", "suppdol", "mentdol", "inpdol")
VISITS = ("totadm", "mentvis", "mdvis", "notmdvis")
PERSON = ("black", "xage", "female", "child", "educdec", "num", "time", "tookphys")
HEALTH = ("mhi", "disea", "physlm", "hlthg", "hlthf", "hlthp")
PLAN = ("coins", "idp", "mdeoff", "pioff")


class RandHie(Table):
    """A person's year of medical care, spending and health: 20 190 years of 5 912 people.

    28 of the file's 45 columns are used. The codes of site and plan, the study year, columns with
    thousands of gaps and those computed from others (logarithms, sums) are left out. Dollars and
    visits enter as log(1 + x). Five rows with a gap in educdec, mdeoff or pioff are left out. A
    row's person is its identity: under split=random other years of a member are non-members.

    encode: as for `Table`; unit gives (28,) in [0, 1], bins one 0/1 column per quantile bin.
    bins: quantile bins of a column, at most, for encode=bins.

    Source: RAND Corporation, Health Insurance Experiment, as prepared for Cameron and Trivedi,
    "Microeconometrics", 2005. Licence: public domain, says statsmodels (0.15 or later; earlier
    wheels hold ten of the columns and no person).
    """

    name = "randhie"
    whole = False
    advice = "install the package statsmodels, 0.15 or later (earlier ones lack the file)"

    def __init__(self, encode: Encoding = "unit", bins: Bins = 4) -> None:
        super().__init__(
            FILE,
            [*PERSON, *HEALTH, *PLAN, *VISITS, *DOLLARS],
            "zper",
            [*VISITS, *DOLLARS],
            encode,
            bins,
            "skip",
            gaps=False,
            decimal=".",
        )

    def find_file(self) -> Path:
        """The file inside the installed package, found without importing that."""
        spec = find_spec("statsmodels")
        path = Path(spec.origin).parent / FILE if spec and spec.origin else Path(FILE)
        if not path.is_file():
            raise UserError(f"data=randhie: {FILE} of statsmodels was not found; {self.advice}")
        return path


SITES, YEARS, PLANS = range(1, 7), range(1, 6), range(1, 20)
"""Codes that may occur, as the study's documentation has them."""


class RandHieMixed(Table):
    """The same table with its categories: 20 190 years of 5 912 people, columns of every kind.

    32 columns. Categories: site (6), study year (5) and insurance plan (19, of which one is not
    used). Dollars and visits are skewed: under 10 % of the years have a stay in hospital, the
    largest bill is above 38 000 dollars; `log` stores log(1 + x). The general health index is
    missing in a quarter of the years, educdec, mdeoff and pioff in up to five. A row's person is
    its identity.

    encode: none, unit or bins as for `Table`.
    bins: quantile bins of a column, at most, for encode=bins.

    Source and licence: as for `RandHie`.
    """

    name = "randhie_mixed"
    advice = RandHie.advice
    find_file = RandHie.find_file

    def __init__(self, encode: Encoding = "unit", bins: Bins = 4) -> None:
        super().__init__(
            FILE,
            ["site", "year", "plan", *PERSON, "ghindx", *HEALTH, *PLAN, *VISITS, *DOLLARS],
            "zper",
            [*VISITS, *DOLLARS],
            encode,
            bins,
            levels={"site": SITES, "year": YEARS, "plan": PLANS},
            decimal=".",
        )

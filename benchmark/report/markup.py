"""A table as CSV, Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.measures.numbers import spaced_name
from benchmark.report.tables import Cell, Table
from benchmark.report.wording import spaced_value

TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "&": r"\&", "%": r"\%",
    "#": r"\#", "$": r"\$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
    "ε": r"$\varepsilon$", "δ": r"$\delta$", "σ": r"$\sigma$", "∞": r"$\infty$", "é": r"\'e",
}  # fmt: skip
"""What LaTeX reads as a command, or does not have in every font."""


def as_csv(table: Table) -> pd.DataFrame:
    """Numbers as numbers: one row per table row and attack."""
    rows = []
    for names, cells, own in table.rows:
        for attack, cell in cells.items():
            if cell:
                found = cell.estimate
                place = {**dict(zip(table.labels, names, strict=True)), "attack": attack}
                numbers = {"auroc": found.mean, "low": found.low, "high": found.high}
                rows.append(
                    {
                        **place,
                        **numbers,
                        "seeds": found.seeds,
                        "best": cell.best,
                        **{name: number.value for name, number in own.items()},
                    }
                )
    return pd.DataFrame(rows)


def as_markdown(table: Table) -> str:
    """A pipe table; the significantly best of each victim is bold."""
    heads = [*table.labels, *table.attacks, *table.numbers]
    lines = [
        _piped_line(heads),
        _piped_line(["---"] * len(table.labels) + ["---:"] * _count_of_numbers(table)),
    ]
    lines += [_piped_line(row) for row in _rows_as_texts(table, _without_pipes, "**{}**".format)]
    return "\n".join(lines + (["", table.budgets] if table.budgets else [])) + "\n"


def frame_as_markdown(texts: pd.DataFrame) -> str:
    """A pipe table of texts."""
    rows = [list(texts.columns), ["---"] * texts.shape[1], *texts.to_numpy().tolist()]
    return "\n".join(map(_piped_line, rows)) + "\n"


def verdicts_as_markdown(findings: Sequence[Mapping[str, Any]]) -> str:
    """The claims as a pipe table, from the texts of each finding."""
    heads = ["claim", "verdict", "estimate [95% interval]", "p (Holm)", "repetitions", "why"]
    heads.append("TPR at 1% FPR")
    rows = [
        [
            own["says"],
            _verdict_text(own),
            f"{own['estimate']} {own['unit']}" if own["estimate"] else "",
            own["p"].removeprefix("= "),
            own["repetitions"],
            own["reason"],
            _other_score_text(own["beside"]) if own["beside"] else "",
        ]
        for own in findings
    ]
    spaced = [[spaced_name(cell) for cell in row] for row in rows]
    return "\n".join(map(_piped_line, [heads, ["---"] * len(heads), *spaced])) + "\n"


def _verdict_text(own: Mapping[str, Any]) -> str:
    return f"**{own['verdict']}**" + (f" for {own['scope']}" if own["scope"] else "")


def _other_score_text(own: Mapping[str, Any]) -> str:
    """The same claim in the other score, in a cell."""
    estimate = f": {own['estimate']}, p {own['p']}" if own["estimate"] else ""
    return f"{_verdict_text(own)}{estimate}"


def as_latex(table: Table, caption: str, label: str) -> str:
    """A floating table with the rules of the package booktabs."""
    columns = "l" * len(table.labels) + "r" * _count_of_numbers(table)
    heads = [*table.labels, *table.attacks, *table.numbers]
    rows = _rows_as_texts(table, escaped_for_latex, r"\textbf{{{}}}".format)
    lines = [
        r"% needs \usepackage{booktabs}; wide: \begin{table*}, or leave columns out",
        r"\begin{table}",
        rf"\caption{{{escaped_for_latex(caption)}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9-]', '-', label)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(escaped_for_latex(spaced_name(head)) for head in heads) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escaped_for_latex(text: str) -> str:
    """A text that LaTeX prints as it is."""
    return "".join(TEX.get(letter, letter) for letter in text)


def _rows_as_texts(
    table: Table, plain: Callable[[str], str], bold: Callable[[str], str]
) -> list[list[str]]:
    def written(cell: Cell | None) -> str:
        text = plain(cell.text) if cell else ""
        return bold(text) if cell and cell.best else text

    return [
        [
            *(plain(spaced_value(name)) for name in names),
            *(written(cell) for cell in table.cells_in_order(cells)),
            *(plain(number.text) for number in own.values()),
        ]
        for names, cells, own in table.rows
    ]


def _count_of_numbers(table: Table) -> int:
    return len(table.attacks) + len(table.numbers)


def _without_pipes(text: str) -> str:
    return text.replace("|", r"\|")


def _piped_line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(_without_pipes(spaced_value(cell)) for cell in cells) + " |"

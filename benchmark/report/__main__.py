"""`python -m benchmark.report`: tables, figures and one page of what sweeps left in the store."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from benchmark.config.build import build
from benchmark.config.commandline import register_resolvers
from benchmark.measures.numbers import count_of
from benchmark.report import markup, page, plots, ranking_page, sheet
from benchmark.report.archive import archive_models, archive_results, check_places
from benchmark.report.collect import Study, studies_of
from benchmark.report.judge import judge_claims
from benchmark.report.pooled import rates_as_texts, rates_of_models
from benchmark.report.published import PUBLISHED, checked_rows, rows_of_studies
from benchmark.report.replication import beside_published, replication_texts
from benchmark.report.tables import CAPTION, study_audits, study_table
from benchmark.show import figures
from benchmark.store.folders import home
from victims.errors import UserError

log = logging.getLogger(__name__)

FILES = (
    *("numbers.csv", "table.csv", "table.md", "table.tex"),
    *(f"{name}.{kind}" for name in ("audits", "rates", "replication") for kind in ("csv", "md")),
    *(f"{name}.{kind}" for name in page.FIGURES for kind in ("pdf", "svg")),
)
"""What a study's folder may hold."""


def main(words: Sequence[str] | None = None) -> int:
    """Write the report of a sweep's command line; gives the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    asked = _parser().parse_intermixed_args(words)
    try:
        check_places(asked.archive, asked.archive_models)
        out = home(asked.out or Path("results", *(["ranking"] if asked.ranking else [])))
        if asked.ranking:
            studies = ranking_page.ranked_studies(asked.words)
            written = ranking_page.write_ranking(studies, out)
        else:
            studies = studies_of(_with_jobs(asked.words))
            written = write_report(studies, out)
            _log_report(studies, out)
        if asked.archive:
            number = archive_results(studies, asked.archive)
            print(f"{count_of(number, 'results')}: {asked.archive}")
        if asked.archive_models:
            number = archive_models(studies, asked.archive_models)
            print(f"{count_of(number, 'models')}: {asked.archive_models}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for study in studies:
        print(f"{study.name}: {len(study.done)} of {len(study.outcomes)} jobs have a result")
        for outcome in study.lacking:
            print(f"  {outcome.state}\n    {outcome.job.command}")
    print(f"page: {written.absolute().as_uri()}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.report",
        description="Tables, figures and one page of what a sweep left in the store; nothing is "
        "trained or attacked. Give it the words of the sweep's own command line, machine.store= "
        "included; where none says what to run, it reports on +sweep=all, seed 0.",
    )
    parser.add_argument("words", nargs="*", help="for example: +sweep=taxonomy seed=0,1,2")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for index.html and one folder a study; default: results/",
    )
    parser.add_argument(
        "--ranking",
        action="store_true",
        help="rank the attacks of +sweep=ranking and those of your words, such as attack=[mine]; "
        "writes to results/ranking/",
    )
    parser.add_argument(
        "--archive",
        type=Path,
        metavar="FILE.zip",
        help="also write all results that the report rests on, without pictures; unpacked into a "
        "store they give the same numbers on another machine",
    )
    parser.add_argument(
        "--archive-models",
        type=Path,
        metavar="FILE.zip",
        help="also write the trained models, so that others attack the same ones",
    )
    parser.add_argument("-m", "--multirun", action="store_true", help=argparse.SUPPRESS)
    return parser


def _with_jobs(words: Sequence[str]) -> list[str]:
    """The words of a command line; everything where they only say where things are."""
    places = all(word.startswith(("machine", "logger")) for word in words)
    return ["+sweep=all", *words] if places else [*words]


def write_report(studies: Sequence[Study], out: Path) -> Path:
    """Write each study that has a result to its own folder, findings.md and the page; give that."""
    try:
        sections = list(_all_sections(studies, out))
        found = judge_claims(studies)
        published = rows_of_studies(checked_rows(PUBLISHED), [study.name for study in studies])
        text = page.render_report(studies, sections, found, published)
        out.mkdir(parents=True, exist_ok=True)
        verdicts = markup.verdicts_as_markdown([page.finding_texts(finding) for finding in found])
        (out / "findings.md").write_text(verdicts, encoding="utf-8")
        (out / "index.html").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out={out}: {error.strerror or error}; choose another folder") from error
    return out / "index.html"


def _log_report(studies: Sequence[Study], out: Path) -> None:
    """A copy in the logger of the sweep's command line."""
    config = studies[0].outcomes[0].job.config
    tables = {study.name: markup.as_csv(study_table(study)) for study in studies if study.done}
    if tables:
        folder = Path(config.machine.outputs) / "report"
        build(config.logger, "logger").log_report(tables, out, folder)


def _all_sections(studies: Sequence[Study], out: Path) -> Iterator[dict[str, Any]]:
    """Each study's section; studies are drawn side by side, on as many cores as there are."""
    processes = Parallel(min(cpu_count(), len(studies)), return_as="generator")
    drawn = processes(delayed(_write_section)(study, out) for study in studies)
    return iter(tqdm(drawn, "studies", len(studies), disable=None))


def _write_section(study: Study, out: Path) -> dict[str, Any]:
    _clear_folder(out / study.name)
    return page.study_section(study, write_study(study, out / study.name) if study.done else {})


def _clear_folder(folder: Path) -> None:
    """Delete what an earlier report wrote there: this one may not write all of it again."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # where there is none, or somebody keeps files of their own in it
        folder.rmdir()


def write_study(study: Study, folder: Path) -> dict[str, page.Cut]:
    """Numbers and table as CSV, table as Markdown and LaTeX, figures as PDF and SVG.

    Gives the figures by name, cut into panels for the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = study_table(study)
    study.frame.to_csv(folder / "numbers.csv", index=False, na_rep="n/a")
    markup.as_csv(made).to_csv(folder / "table.csv", index=False, na_rep="n/a")
    (folder / "table.md").write_text(markup.as_markdown(made), encoding="utf-8")
    if not (audits := study_audits(study)).empty:
        audits.to_csv(folder / "audits.csv", index=False)
        (folder / "audits.md").write_text(
            markup.frame_as_markdown(page.audit_texts(study)), "utf-8"
        )
    if not (rates := rates_of_models(study)).empty:
        rates.to_csv(folder / "rates.csv", index=False, na_rep="n/a")
        texts = markup.frame_as_markdown(rates_as_texts(rates))
        (folder / "rates.md").write_text(texts, encoding="utf-8")
    if not (beside := beside_published(study)).empty:
        beside.to_csv(folder / "replication.csv", index=False, na_rep="n/a")
        text = markup.frame_as_markdown(replication_texts(beside))
        (folder / "replication.md").write_text(text, encoding="utf-8")
    text = markup.as_latex(made, f"{study.title}. {CAPTION} {made.budgets}".strip(), study.name)
    (folder / "table.tex").write_text(text, encoding="utf-8")
    shown = {}
    for name, panels in plots.figures_of(study).items():
        figure = sheet.draw_sheet(panels)
        text = figures.save_figure(figure, folder / name)
        pictures = sheet.cut_into_panels(figure, text, f"{study.name}-{name}")
        pairs = zip(panels, pictures, strict=True)
        cuts = [(panel.title, panel.data, panel.victim, picture) for panel, picture in pairs]
        shown[name] = page.Cut(sheet.legend_entries(figure), cuts)
    return shown


def command() -> None:
    """The command, and its exit code."""
    register_resolvers()
    sys.exit(main())


if __name__ == "__main__":
    command()

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmark.data import tiles
from benchmark.measures.numbers import format_percent
from benchmark.measures.result import Strip
from benchmark.show import figures
from benchmark.show.page import PAIRS, job_headline, render_job

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Reader(HTMLParser):
    """Collects tags, ids and addresses, and insists that tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for key, value in attrs if key == "id"]
        keys = {"src", "href", "xlink:href", "action", "srcset"}
        self.addresses += [value for key, value in attrs if key in keys]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_self_contained_and_well_formed(page):
    reader = Reader(page)
    assert all(re.match(r"data:|#", address) for address in reader.addresses)
    assert not re.search(r"url\((?!#)|@import", page)
    assert "script" not in reader.tags
    assert len(reader.ids) == len(set(reader.ids))
    used = {address[1:] for address in reader.addresses if address.startswith("#")}
    assert used <= set(reader.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(reader.ids)


def test_page_has_every_part(result, page):
    scored = len(result.ok)
    assert page.count("<figcaption>Linear axes") == page.count("<figcaption>Logarithmic axes") == 1
    assert len(re.findall(r'id="hist-\d+-figure_1"', page)) == scored
    assert page.count('class="samples"') == 1
    assert page.count('alt="record and closest sample"') == len(result.closest.losses)
    assert f"<figcaption>{result.closest.losses[0]:.3f}" in page
    assert page.index("<h2>Copies") < page.index("<h3>Closest pairs")
    shown = 2 * PAIRS * len(result.strips)
    assert page.count('alt="query and reconstruction"') == shown
    assert page.index("Members</b>") < page.index("Non-members</b>")
    assert page.count("<summary>") == 2
    assert "duplicates dropped: 4" in page


def test_numbers_of_the_table_are_in_the_page(result, page):
    for _, row in result.ok.iterrows():
        assert f"{row['auroc']:.3f}" in page
        assert f"[{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]" in page
        assert format_percent(row["tpr_at_1"]) in page
    for check in result.checks:
        assert check.message in page


def test_differences_sets_and_marks_are_in_the_page(result, page):
    best, *others = [row for row, _, _ in result.scored()]
    assert page.count("Which attacks differ") == page.count("Sets of records") == 1
    assert f"{best['auroc']:.3f}*" in page
    assert f"{others[-1]['auroc']:.3f}*" not in page
    for other in others:
        difference = best["auroc"] - other["auroc"]
        assert f"<b>{difference:+.3f}</b><small>&lt; 0.001" in page
    one = result.scores[result.scores["attack"] == "white_box"]
    alone = replace(result, scores=one, comparisons=pd.DataFrame(), sets=pd.DataFrame())
    assert "Which attacks differ" not in render_job(alone)
    assert "Sets of records" not in render_job(alone)


def test_quality_stands_above_the_samples(page):
    for name, numbers in (
        ("Frechet distance (AlexNet)", "12.3 1234 0.514"),
        ("precision", "0.5 0 n/a"),
    ):
        row = page[page.index(f'<tr><th scope="row">{name}</th>') :]
        cells = re.findall(r"<td[^>]*>([^<]*)</td>", row[: row.index("</tr>")])
        assert cells == numbers.split()
    assert page.index("1 234 567 parameters") < page.index('class="samples"')
    Reader(page)


@pytest.mark.slow
def test_tables_have_their_quality_without_a_grid(result):
    page = render_job(replace(result, samples=None, strips={}))
    assert "<h2>Samples of the victim</h2>" in page
    assert "Frechet distance (AlexNet)" in page
    bare = render_job(replace(result, samples=None, strips={}, quality={}))
    assert "Samples of the victim" not in bare
    Reader(page)
    Reader(bare)


def test_hostile_text_is_escaped_everywhere(result):
    evil = "<script>alert(1)</script>"
    rows = result.rows.assign(attack=evil, access=evil, warnings=evil)
    hostile = replace(
        result,
        title=evil,
        config={"victim": evil},
        provenance={evil: evil},
        rows=rows,
        scores=result.scores.assign(attack=evil),
        comparisons=result.comparisons.assign(attack_a=evil, attack_b=evil),
        sets=result.sets.assign(attack=evil),
        strips={evil: result.strips["white_box"]},
        checks=[replace(result.checks[0], name=evil, message=evil)],
        quality=result.quality | {evil: 1.0, f"{evil}, untrained": 1.0, f"{evil}, real": 1.0},
    )
    page = render_job(hostile)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 10
    Reader(page)


def test_name_with_dollar_signs_is_no_formula(result):
    rows = result.rows.assign(attack="$x^{$")
    assert "$x^{$" in render_job(
        replace(result, rows=rows, scores=result.scores.assign(attack="$x^{$"))
    )


def test_job_without_any_result(empty):
    page = render_job(empty)
    assert "No attack gave a result." in page
    assert "failed: the loss became NaN" in page
    assert "ROC curves" not in page
    Reader(page)


def test_job_without_any_row(empty):
    nothing = replace(empty, rows=empty.rows.iloc[:0])
    assert "No attack was selected." in render_job(nothing)


def test_tables_have_no_images(result):
    records = np.zeros((4, 7))
    strip = Strip(records, records, np.arange(4) < 2, np.zeros(4))
    shown = replace(result, samples=None, strips={"full_black_box": strip}, closest=None)
    page = render_job(shown)
    assert "<img" not in page


def test_headline_names_the_strongest_and_counts_wins(result):
    text = " ".join(job_headline(result))
    best = result.rows.loc[result.rows["auroc"].idxmax()]
    assert "accessible discriminator: AUROC " + f"{best['auroc']:.3f}" in text
    assert f"{(result.rows['auroc_low'] > 0.5).sum()} of 5 attacks" in text


def curves(figure) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Lines of a figure's only axes, without the AUROC in front of their names."""
    lines = figure.axes[0].get_lines()
    return {str(line.get_label())[5:].strip(): line.get_data() for line in lines}


def test_roc_is_trapezoid_equal_to_the_table(result):
    drawn = curves(figures.draw_roc(result, log=False))
    for _, row in result.ok[result.ok["calibrated"] == "none"].iterrows():
        false, true = drawn[row["attack"].replace("_", " ")]
        assert np.trapezoid(true, false) == pytest.approx(row["auroc"], abs=1e-12)


def test_logarithmic_roc_keeps_the_rate_at_zero_false_positives(result):
    drawn = curves(figures.draw_roc(result, log=True))
    false, true = drawn["accessible discriminator"]
    group = result.scores[result.scores["attack"] == "accessible_discriminator"]
    top = group.loc[~group["member"], "score"].max()
    at_zero = (group.loc[group["member"], "score"] > top).mean()
    assert at_zero > 0
    assert true[false == false.min()].max() == pytest.approx(at_zero)
    assert false.min() > 0


@pytest.mark.parametrize(
    "scores",
    [np.zeros(8), np.full(8, 1e30), np.r_[np.inf, np.nan, np.arange(6)], np.full(8, np.nan)],
)
def test_histogram_survives_odd_scores(scores):
    assert "<svg" in figures.inline_svg(figures.draw_histogram(scores, np.arange(8) < 4), "h")


def test_histogram_shares_sum_to_the_whole_group():
    rng = np.random.default_rng(0)
    scores = rng.standard_cauchy(1000)
    figure = figures.draw_histogram(scores, np.arange(1000) < 300)
    totals = [patch.get_data().values.sum() for patch in figure.axes[0].patches]
    assert totals == pytest.approx([100.0] * 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_tile_places_images_in_reading_order(channels):
    levels = np.linspace(-1, 1, 6)
    images = np.ones((6, channels, 4, 5)) * levels[:, None, None, None]
    pixels = np.asarray(tiles.tile_images(images, columns=3, gap=2))
    assert pixels.shape[:2] == (2 * 4 + 2, 3 * 5 + 2 * 2)
    centres = pixels[2::6, 2::7]
    expected = ((levels + 1) / 2 * 255).round().reshape(2, 3)
    np.testing.assert_array_equal(centres if channels == 1 else centres[..., 0], expected)


def test_strip_pairs_belong_together(result):
    uris = re.findall(r'<img src="data:image/webp;base64,([^"]+)" alt="query', render_job(result))
    strip = result.strips["full_black_box"]
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(uris[0]))).convert("L"))
    i = int(np.flatnonzero(strip.member)[0])
    expected = np.concatenate([strip.queries[i, 0], strip.reconstructions[i, 0]], axis=1)
    shown = np.delete(first, 32, axis=1) / 255 * 2 - 1  # column 32 is the gap
    np.testing.assert_allclose(shown, expected, atol=1 / 255 + 1e-6)


def test_group_of_one_kind_only(result):
    strip = result.strips["white_box"]
    only = replace(strip, member=np.ones_like(strip.member))
    page = render_job(replace(result, strips={"white_box": only}))
    assert "0 of 0 shown" in page


def test_calibrated_curve_is_dashed_in_its_attacks_colour(result):
    lines = {
        str(line.get_label())[7:]: line for line in figures.draw_roc(result, False).axes[0].lines
    }
    plain, calibrated = lines["full black box"], lines["full black box + reference"]
    assert plain.get_color() == calibrated.get_color()
    assert (plain.get_linestyle(), calibrated.get_linestyle()) == ("-", "--")


def test_missing_interval_does_not_break_the_mark(result):
    rows = result.rows.assign(auroc_low=np.nan, auroc_high=pd.NA)
    assert "[n/a, n/a]" in render_job(replace(result, rows=rows))

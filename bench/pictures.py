"""Draw the pictures of the READMEs into results/pictures/.

    python bench/pictures.py [JOB/index.html AUDIT/index.html]

The lattice of accesses is drawn from the classes in `victims/access.py`; yellow boxes hold what
the attacker brings along. With the pages of a job and of an audit their tops are photographed
too, by Chromium (`pip install playwright`).
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import fields
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from victims.access import Auxiliary, View

Place = tuple[int, int]
FOLDER = Path(__file__).parents[1] / "results" / "pictures"
EDGE = "#4a5a6a"
WIDTH, HEIGHT = 1100, 800
"""Of a photograph, in pixels."""


def adds(view: type[View]) -> list[str]:
    """The fields that a view has and the one it extends has not."""
    (base, *_) = view.__bases__
    before = {field.name for field in fields(base)}
    return [field.name for field in fields(view) if field.name not in before]


def places(view: type[View] = View, depth: int = 0, row: int = 0) -> dict[type[View], Place]:
    """View -> (column, row): a chain lies in a row, a branch begins one; the lonely come last."""
    found: dict[type[View], Place] = {}
    alone = [kind for kind in view.__subclasses__() if not depth and not kind.__subclasses__()]
    for kind in view.__subclasses__():
        if kind not in alone:
            found = {kind: (depth, row), **places(kind, depth + 1, row), **found}
            row = max(at for _, at in found.values()) + 1
    return found | {kind: (at % 3, row + at // 3) for at, kind in enumerate(alone)}


def lattice(axes: Axes) -> None:
    """Draw each view as a box that says what it adds, with an arrow from the one it extends."""
    found = places()
    boxes = {kind: box(axes, kind, *place) for kind, place in found.items()}
    for kind, (depth, row) in found.items():
        for base in set(kind.__bases__) & set(found):
            ends = {"patchA": boxes[base], "patchB": boxes[kind], "shrinkA": 0, "shrinkB": 2}
            arrow = {"arrowstyle": "-|>", "color": EDGE, "mutation_scale": 14, **ends}
            at, to = found[base], (depth, row)
            axes.annotate("", (to[0], -to[1]), (at[0], -at[1]), arrowprops=arrow)
    axes.set_xlim(-0.4, max(depth for depth, _ in found.values()) + 0.4)
    axes.set_ylim(-max(row for _, row in found.values()) - 0.5, 0.5)
    axes.axis("off")


def box(axes: Axes, view: type[View], depth: int, row: int) -> Patch:
    """Draw one view; give its outline."""
    text = f"$\\bf{{{view.__name__}}}$\n+ {', '.join(adds(view))}"
    colour = "#fff3d6" if issubclass(view, Auxiliary) else "#e3edf9"
    style = {"boxstyle": "round,pad=0.6", "fc": colour, "ec": EDGE}
    drawn = axes.text(depth, -row, text, ha="center", va="center", size=9, bbox=style, zorder=3)
    outline = drawn.get_bbox_patch()
    assert outline is not None
    return outline


def photograph(page: Path, to: Path) -> None:
    """The top of a page as a small PNG."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        opened.goto(page.absolute().as_uri())
        opened.screenshot(path=to)
        browser.close()
    Image.open(to).convert("RGB").quantize(64).save(to, optimize=True)


def main(pages: list[str]) -> None:
    """Draw the lattice; photograph the pages that are given."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"svg.hashsalt": "access", "svg.fonttype": "path"})
    rows = max(row for _, row in places().values()) + 1
    columns = max(depth for depth, _ in places().values()) + 1
    figure, axes = plt.subplots(figsize=(2.9 * columns, 0.95 * rows), layout="tight")
    lattice(axes)
    figure.savefig(FOLDER / "access.svg", metadata={"Date": None})
    for page, name in zip(pages, ("job", "audit"), strict=False):
        photograph(Path(page), FOLDER / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Images: ranges and layouts are decided together, and what is left out is counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import digits
from PIL import Image

from benchmark.audit.given.inputs import (
    Reading,
    Records,
    by_index,
    open_input,
    read_input,
    settle_inputs,
)
from benchmark.store.entries import Store
from victims.errors import UserError

MADE = np.random.default_rng(0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def settled(store: Store, reading: Reading | None = None, **inputs: Any) -> tuple[Any, list[str]]:
    reading = reading or Reading()
    opened = {name: open_input(name, source, reading, store) for name, source in inputs.items()}
    return settle_inputs(opened, reading, store)


def test_overshoots_are_clipped_and_said(store: Store) -> None:
    unit = (digits(0, 20).numpy() + 1) / 2
    over = unit.copy()
    over[0, 0, 0, :2] = -0.02, 1.02
    found, notes = settled(store, members=unit, samples=over)
    np.testing.assert_allclose(found["samples"].images.values, 2 * over.clip(0, 1) - 1, atol=1e-6)
    assert any("samples: pixels in [0, 1]" in note and "are clipped" in note for note in notes)


def test_standardised_pixels_are_refused(store: Store) -> None:
    unit = (digits(0, 20).numpy() + 1) / 2
    whole, standardised = (unit * 255).round().astype(np.uint8), (unit - 0.1307) / 0.3081
    message = (
        r"samples: [\d.]+% of its values lie outside of \[0, 255\].*standardised\?.*records.range"
    )
    with pytest.raises(UserError, match=message):
        settled(store, members=whole, samples=standardised)
    with pytest.raises(UserError, match=message):
        settled(store, samples=standardised)
    ends = float(standardised.min()), float(standardised.max())
    found, _ = settled(store, Reading(range=ends), members=standardised)
    assert found["members"].images.values.max() == 1
    found, _ = settled(store, members=MADE.uniform(-0.05, 0.04, (9, 1, 8, 8)))  # of [-1, 1]
    assert found["members"].images.values.max() < 0.05


@pytest.mark.parametrize("other", [lambda x: x, lambda x: 255 * (x + 1) / 2])
def test_two_ranges_are_refused(store: Store, other: Callable[[Any], Any]) -> None:
    images = digits(0, 20).numpy()
    with pytest.raises(UserError, match=r"members in \[0, 1\], samples in .*records.range"):
        settled(store, members=(images + 1) / 2, samples=other(images))


def test_bytes_beside_floats_are_no_contradiction(store: Store) -> None:
    images = digits(0, 20).numpy()
    whole = ((images + 1) * 127.5).round().astype(np.uint8)
    found, _ = settled(store, members=whole, samples=images)
    values = [found[name].images.values for name in ("members", "samples")]
    np.testing.assert_allclose(*values, atol=1 / 255 + 1e-6)
    mask = (images > 0).astype(np.uint8)
    found, _ = settled(store, members=mask, samples=mask.astype(float))
    assert set(np.unique(found["members"].images.values)) == {-1, 1}


def test_a_declared_range_is_that_of_all(store: Store) -> None:
    images = digits(0, 20).numpy()
    found, _ = settled(store, Reading(range=(-2, 2)), members=images)
    np.testing.assert_allclose(found["members"].images.values, images / 2, atol=1e-6)


def test_sequences_are_refused_by_name(store: Store) -> None:
    with pytest.raises(UserError, match="looks like sequences"):
        settled(store, members=MADE.random((9, 24, 6)))
    found, _ = settled(store, members=MADE.random((9, 24, 6)), samples=MADE.random((9, 1, 24, 6)))
    assert found["members"].images.shape == (1, 24, 6)


def test_what_a_folder_holds_is_counted(store: Store, tmp_path: Path) -> None:
    root, far = tmp_path / "x", tmp_path / "far"
    for folder in (root, far, root / ".ipynb_checkpoints"):
        folder.mkdir()
    pages = [Image.fromarray(MADE.integers(0, 256, (8, 8), dtype=np.uint8)) for _ in range(5)]
    pages[0].save(root / "a.jfif", "jpeg")
    pages[1].save(far / "b.png")
    pages[2].save(root / ".ipynb_checkpoints" / "c.png")
    pages[3].save(root / "d.tif", save_all=True, append_images=pages[4:])
    (root / "e.txt").write_text("?")
    (root / "linked").symlink_to(far)
    (root / "above").symlink_to(root)
    found, notes = settled(store, members=root)
    assert list(found["members"].ids) == ["a.jfif", "d.tif", "linked/b.png"]
    said = "; ".join(notes)
    for part in ("3 images", "1 hidden", "1 files of other kinds", "further pages of 1 images"):
        assert part in said
    (root / "f.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match=r"f\.png is a link"):
        settled(store, members=root)


@pytest.mark.parametrize("depth", ["png", "ppm"])
def test_sixteen_bits_are_refused(store: Store, tmp_path: Path, depth: str) -> None:
    (tmp_path / "x").mkdir()
    rows = MADE.integers(0, 2**16, (4, 4, 3)).astype(">u2")
    if depth == "ppm":
        (tmp_path / "x" / "a.ppm").write_bytes(b"P6 4 4 65535\n" + rows.tobytes())
    else:
        (tmp_path / "x" / "a.png").write_bytes(_png(rows))
    with pytest.raises(UserError, match="more than 8 bits a channel"):
        settled(store, members=tmp_path / "x")


def _png(rows: np.ndarray) -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    h, w, _ = rows.shape
    header = struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_one_of_several_arrays_is_named(store: Store, tmp_path: Path) -> None:
    rows = MADE.random((5, 2))
    np.savez(tmp_path / "x.npz", train=rows, test=rows + 1)
    found = read_input("members", f"{tmp_path}/x.npz:test", Reading(), store)
    np.testing.assert_array_equal(found.table.to_numpy(), rows + 1)
    for path in (f"{tmp_path}/x.npz", f"{tmp_path}/x.npz:none"):
        with pytest.raises(UserError, match=r"2 arrays \(train, test\).*x\.npz:"):
            read_input("members", path, Reading(), store)


def test_masks_pick_records(store: Store, tmp_path: Path) -> None:
    data = read_input(
        "data", pd.DataFrame({"x": [1.0, 2, 3], "k": list("abc")}), Reading(id="k"), store
    )
    mask = np.array([True, False, True])
    np.save(tmp_path / "m.npy", mask)
    (tmp_path / "m.txt").write_text("true\nFalse\nTRUE\n")
    for source in (tmp_path / "m.npy", tmp_path / "m.txt", mask):
        assert list(by_index(data, "members", source).ids) == ["a", "c"]
    for wrong in (mask[:2], ~mask & mask):
        with pytest.raises(UserError, match="the mask"):
            by_index(data, "members", wrong)


def test_settings_without_effect_are_refused(store: Store) -> None:
    images, rows = digits(0, 3).numpy(), MADE.random((3, 2))
    cases: list[tuple[Any, dict[str, Any]]] = [
        (images, {"channels": 3}), (images, {"id": "k"}), (images, {"categorical": ["a"]}),
        (rows, {"range": (0, 1)}), (rows, {"channels": 1}), (rows, {"id": "k"}),
    ]  # fmt: skip
    for source, setting in cases:
        with pytest.raises(UserError, match=f"records.{next(iter(setting))}"):
            settled(store, Reading(**setting), members=source)


def test_tensors_of_any_precision_are_read(store: Store) -> None:
    import torch

    rows = torch.ones(3, 2, dtype=torch.bfloat16, requires_grad=True)
    found: Records = read_input("members", rows, Reading(), store)
    assert found.table.to_numpy().tolist() == [[1, 1]] * 3

import errno
import hashlib
import logging
import math
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from omegaconf import OmegaConf

from benchmark.store import entries as module
from benchmark.store.entries import META, WORK, Store, key, read_meta
from victims.errors import UserError

CONFIG = {"victim": {"width": 32, "lr": 2e-4, "betas": [0.5, 0.999]}, "seed": 0}
FORK = multiprocessing.get_context("fork")


def write(folder, text="hello"):
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "a.txt").write_text(text)
    (folder / "sub" / "b.bin").write_bytes(bytes(range(256)) * 40)


class Maker:
    """Writes two files and counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, folder):
        self.calls += 1
        write(folder)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


# --- key ------------------------------------------------------------------------------------------


def test_key_is_the_hash_of_canonical_json():
    assert key({"b": [1, None], "a": 0.5}) == hashlib.sha256(b'{"a":0.5,"b":[1,null]}').hexdigest()


def test_key_ignores_order_and_container_type():
    config = OmegaConf.create({"n": 3, "twice": {"lr": 0.1, "n": "${n}"}})
    assert key(config) == key({"twice": {"n": 3, "lr": 0.1}, "n": 3})
    assert key({"a": (1, 2)}) == key({"a": [1, 2]})


@pytest.mark.parametrize("other", [{"a": 1.0}, {"a": True}, {"a": "1"}, {"b": 1}, {"a": [1]}, {}])
def test_key_tells_values_apart(other):
    assert key(other) != key({"a": 1})


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"a": {"lr": math.nan}}, r"config\.a\.lr=nan"),
        ({"a": [1, -math.inf]}, r"config\.a\[1\]=-inf"),
        ({"a": np.float64(1)}, r"config\.a=.*float64"),
        ({"a": np.zeros(2)}, r"config\.a=.*ndarray"),
        ({"a": {1: 2}}, r"config\.a: the name 1 is no text"),
        (OmegaConf.create({"a": "???"}), "config: Missing mandatory value: a"),
        (OmegaConf.create({"a": "${b}"}), "config: Interpolation key 'b' not found"),
    ],
)
def test_key_refuses_what_has_no_canonical_form(config, told):
    with pytest.raises(UserError, match=told):
        key(config)


# --- one process ----------------------------------------------------------------------------------


def test_made_once_then_found(store):
    make = Maker()
    assert not store.has("victim", CONFIG)
    path = store.get("victim", CONFIG, make)
    assert path == store.root / "victim" / key(CONFIG)
    assert store.get("victim", CONFIG, make) == path
    assert Store(store.root).get("victim", CONFIG, make) == path
    assert make.calls == 1
    assert (path / "a.txt").read_text() == "hello"
    assert store.has("victim", CONFIG)
    assert not store.has("bank", CONFIG)
    assert not store.has("victim", CONFIG | {"seed": 1})


def test_meta_describes_the_entry(store):
    path = store.get("victim", CONFIG, write, note={"machine": "laptop", "duplicates": 4})
    meta = read_meta(path)
    assert meta["config"] == CONFIG
    assert meta["note"] == {"machine": "laptop", "duplicates": 4}
    assert set(meta["versions"]) >= {"python", "torch", "numpy", "pytorch-lightning", "opacus"}
    assert meta["versions"]["numpy"] == np.__version__
    assert meta["git"] is None or set(meta["git"]) == {"commit", "dirty"}
    assert meta["created"].startswith("20")
    assert set(meta["files"]) == {"a.txt", "sub/b.bin"}
    expected = hashlib.sha256(b"hello").hexdigest()
    assert meta["files"]["a.txt"] == {"bytes": 5, "sha256": expected}


def test_note_is_no_part_of_the_key(store):
    make = Maker()
    store.get("victim", CONFIG, make, note={"machine": "a"})
    path = store.get("victim", CONFIG, make, note={"machine": "b"})
    assert make.calls == 1
    assert read_meta(path)["note"] == {"machine": "a"}


def test_find_lists_whole_entries_only(store):
    assert list(store.find("victim")) == []
    paths = [store.get("victim", {"seed": i}, write) for i in range(3)]
    (paths[1] / "a.txt").unlink()
    with pytest.raises(KeyboardInterrupt):
        store.get("victim", {"seed": 3}, interrupted)
    found = dict(store.find("victim"))
    assert set(found) == {paths[0], paths[2]}
    assert found[paths[2]]["config"] == {"seed": 2}


def test_content_is_hashed_once(store, monkeypatch):
    path = store.get("victim", CONFIG, write)
    hashed = []
    original = module._sha256_of
    monkeypatch.setattr(module, "_sha256_of", lambda p: hashed.append(p.name) or original(p))
    for _ in range(3):
        store.get("victim", CONFIG, write)
    assert sorted(hashed) == ["a.txt", "b.bin"]
    os.utime(path / "a.txt", (1, 1))  # touched: looked at again
    store.get("victim", CONFIG, write)
    assert len(hashed) == 4


# --- damage ---------------------------------------------------------------------------------------


def truncate(path):
    with (path / "sub" / "b.bin").open("r+b") as f:
        f.truncate(100)


def flip(path):
    data = bytearray((path / "sub" / "b.bin").read_bytes())
    data[5000] ^= 1
    (path / "sub" / "b.bin").write_bytes(data)


def remove(path):
    (path / "a.txt").unlink()


def cut_meta(path):
    text = (path / META).read_text()
    (path / META).write_text(text[: len(text) // 2])


def change_meta(path):
    text = (path / META).read_text()
    assert '"seconds": 0' in text
    (path / META).write_text(text.replace('"seconds": 0', '"seconds": 1'))


def remove_meta(path):
    (path / META).unlink()


def empty_meta(path):
    (path / META).write_text("[]")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (truncate, "sub/b.bin has 100 bytes, not 10240"),
        (flip, "the content of sub/b.bin has changed"),
        (remove, "a.txt is missing"),
        (cut_meta, "meta.json is damaged"),
        (change_meta, "meta.json is damaged"),
        (empty_meta, "meta.json is damaged"),
        (remove_meta, "meta.json is missing"),
    ],
)
@pytest.mark.parametrize("fresh", [True, False])
def test_damage_is_reported_and_mended(store, caplog, damage, told, fresh):
    path = store.get("victim", CONFIG, write)
    assert store.has("victim", CONFIG)
    damage(path)
    reader = Store(store.root) if fresh else store
    assert not reader.has("victim", CONFIG)
    make = Maker()
    with caplog.at_level(logging.WARNING):
        assert reader.get("victim", CONFIG, make) == path
    assert make.calls == 1
    assert told in caplog.text
    assert str(path) in caplog.text
    assert reader.has("victim", CONFIG)
    assert (path / "sub" / "b.bin").stat().st_size == 10240
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, path.name + ".lock"]


def test_entry_under_another_name_is_not_believed(store, caplog):
    path = store.get("victim", CONFIG, write)
    other = {"seed": 1}
    path.rename(path.parent / key(other))
    make = Maker()
    store.get("victim", other, make)
    assert make.calls == 1
    assert "describes another entry" in caplog.text


def test_whole_entry_is_quiet(store, caplog):
    for _ in range(2):
        store.get("victim", CONFIG, write)
    assert caplog.text == ""


# --- interruption ---------------------------------------------------------------------------------


def interrupted(folder):
    (folder / WORK / "step").write_text("7")
    raise KeyboardInterrupt


def test_interrupted_entry_goes_on_from_its_work(store):
    with pytest.raises(KeyboardInterrupt):
        store.get("victim", CONFIG, interrupted)
    assert not store.has("victim", CONFIG)
    seen = []

    def resume(folder):
        seen.append((folder / WORK / "step").read_text())
        write(folder)

    path = store.get("victim", CONFIG, resume)
    assert seen == ["7"]
    assert not (path / WORK).exists()
    assert WORK not in str(read_meta(path)["files"])


def test_an_error_of_the_maker_is_passed_on(store):
    def fail(folder):
        raise ValueError("loss is NaN")

    with pytest.raises(ValueError, match="loss is NaN"):
        store.get("victim", CONFIG, fail)
    make = Maker()
    store.get("victim", CONFIG, make)  # the lock is free again
    assert make.calls == 1


def test_seconds_of_all_attempts_count(store):
    def slow(folder):
        time.sleep(0.3)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            store.get("victim", CONFIG, slow)
    seconds = read_meta(store.get("victim", CONFIG, write))["seconds"]
    assert 0.55 < seconds < 5


def test_interrupted_publishing_needs_no_second_making(store, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    make = Maker()
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            store.get("victim", CONFIG, make)
    store.get("victim", CONFIG, make)
    assert make.calls == 1
    assert store.has("victim", CONFIG)


def count_slowly(folder):
    """Ten steps, each checkpointed; notes the step at which each attempt began."""
    step = folder / WORK / "step"
    done = int(step.read_text()) if step.exists() else 0
    with (folder / "began.txt").open("a") as f:
        f.write(f"{done}\n")
    for i in range(done, 10):
        time.sleep(0.1)
        step.with_suffix(".new").write_text(str(i + 1))
        os.replace(step.with_suffix(".new"), step)


def test_kill_while_making_then_resume(store):
    """kill -9 leaves the checkpoint; the dead holder's lock is free, and the next goes on."""
    holder = FORK.Process(target=store.get, args=("victim", CONFIG, count_slowly))
    holder.start()
    step = store.root / "victim" / f"{key(CONFIG)}.partial" / WORK / "step"
    wait_until(lambda: step.exists() and int(step.read_text()) >= 3)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert not store.has("victim", CONFIG)
    start = time.monotonic()
    path = store.get("victim", CONFIG, count_slowly)
    elapsed = time.monotonic() - start
    first, second = map(int, (path / "began.txt").read_text().split())
    assert first == 0
    assert second >= 3
    assert elapsed + 0.25 < read_meta(path)["seconds"] < elapsed + 5


# --- several processes ----------------------------------------------------------------------------


def wait_until(condition, timeout=20):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)


def note_and_write(folder):
    with (folder.parent / "made.txt").open("a") as f:
        f.write(f"{os.getpid()}\n")
    time.sleep(0.3)
    write(folder)


def get_and_note(root, barrier):
    barrier.wait()
    path = Store(root).get("victim", CONFIG, note_and_write)
    with (path.parent / "got.txt").open("a") as f:
        f.write((path / "a.txt").read_text() + "\n")


def test_processes_that_want_the_same_key_make_it_once(store):
    barrier = FORK.Barrier(3)
    workers = [FORK.Process(target=get_and_note, args=(store.root, barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    folder = store.root / "victim"
    assert len((folder / "made.txt").read_text().split()) == 1
    assert (folder / "got.txt").read_text().split() == ["hello"] * 3


def test_waiting_is_told_and_a_dead_holder_does_not_block(store, caplog, monkeypatch):
    monkeypatch.setattr(module, "NOTICE_S", 0.2)

    def hold(folder):
        (folder / WORK / "held").touch()
        time.sleep(60)

    holder = FORK.Process(target=store.get, args=("victim", CONFIG, hold))
    holder.start()
    held = store.root / "victim" / f"{key(CONFIG)}.partial" / WORK / "held"
    wait_until(held.exists)
    killer = FORK.Process(target=kill_later, args=(holder.pid, 0.6))
    killer.start()
    make = Maker()
    store.get("victim", CONFIG, make)
    holder.join()
    killer.join()
    assert make.calls == 1
    messages = [r.getMessage() for r in caplog.records]
    assert len(messages) >= 2
    name = f"victim/{key(CONFIG)}"
    assert all(f"waiting for another process to make {name} (for" in m for m in messages)


def kill_later(pid, seconds):
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)


# --- a store that cannot be written to ------------------------------------------------------------


def test_a_good_store_passes_and_is_left_empty(store):
    store.check()
    assert list(store.root.iterdir()) == []


def test_store_below_a_regular_file(tmp_path):
    # Root may write to a read-only folder, so a place where nobody can stands in for one.
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(UserError, match=rf"machine\.store={root}: cannot be written to"):
            Store(root).check()
        with pytest.raises(UserError, match=rf"machine\.store={root}: cannot be written to"):
            Store(root).get("victim", CONFIG, write)


def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        tmp_path.chmod(0o700)
        pytest.skip("root ignores permissions")
    read_only(tmp_path)


def test_read_only_file_system(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    Store(tmp_path).get("victim", {"seed": 1}, write)
    monkeypatch.setattr(module.Path, "mkdir", refuse)
    monkeypatch.setattr(module.tempfile, "TemporaryDirectory", lambda **k: refuse(k["dir"]))
    read_only(tmp_path)
    assert Store(tmp_path).get("victim", {"seed": 1}, write)  # what is there can still be read


def read_only(folder):
    folder.chmod(0o500)
    try:
        with pytest.raises(UserError, match=rf"machine\.store={folder}: cannot be written to"):
            Store(folder).check()
        with pytest.raises(UserError, match=rf"machine\.store={folder}: cannot be written to"):
            Store(folder).get("victim", CONFIG, write)
    finally:
        folder.chmod(0o700)


def test_disk_full_while_making_keeps_what_is_done(store):
    def fill(folder):
        (folder / WORK / "step").write_text("7")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError) as caught:
        store.get("victim", CONFIG, fill)
    partial = store.root / "victim" / f"{key(CONFIG)}.partial"
    assert f"machine.store={store.root}: no space left" in str(caught.value)
    assert str(partial) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (partial / WORK / "step").read_text() == "7"
    store.get("victim", CONFIG, write)


def test_disk_full_behind_a_library_error(store, monkeypatch):
    """torch.save and safetensors report a full disk as an error of their own."""

    def fail(folder, text="PytorchStreamWriter failed writing file"):
        raise RuntimeError(text)

    full = pytest.raises(UserError, match=r"machine\.store=.*: no space left")
    with pytest.raises(RuntimeError):
        store.get("victim", CONFIG, fail)
    with full:
        told = "Error while serializing: I/O error: No space left on device (os error 28)"
        store.get("victim", CONFIG, lambda folder: fail(folder, told))
    usage = module.shutil._ntuple_diskusage(2**30, 2**30, 0)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with full:
        store.get("victim", CONFIG, fail)
    with full:
        store.check()


def test_errors_about_other_places_are_passed_on(store, tmp_path):
    def denied(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "data.npy"))

    def absent(folder):
        (folder / "nothing").read_text()

    def full_elsewhere(folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "log.txt"))

    for make, error in [
        (denied, PermissionError),
        (absent, FileNotFoundError),
        (full_elsewhere, OSError),
    ]:
        with pytest.raises(error):
            store.get("victim", CONFIG, make)

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.store.seeds import sub_seed

NAMES = st.lists(st.one_of(st.text(max_size=5), st.integers(0, 50)), max_size=3)


def test_a_seed_never_changes():
    # First 16 digits that coreutils' sha256sum gives for [0, "split"], without the lowest bit.
    assert sub_seed(0, "split") == 0x0881EC4F71165E82 >> 1


def test_same_in_another_process_with_another_hash_seed():
    code = "from benchmark.store.seeds import sub_seed; print(sub_seed(3, 'reference', 1))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": ":".join(sys.path)},
    )
    assert int(found.stdout) == sub_seed(3, "reference", 1)


@given(st.integers(0, 9), NAMES, st.integers(0, 9), NAMES)
def test_different_names_give_different_seeds(seed, names, other_seed, other_names):
    same = seed == other_seed and names == other_names
    assert (sub_seed(seed, *names) == sub_seed(other_seed, *other_names)) == same


def test_number_and_text_are_two_names():
    assert sub_seed(0, 1) != sub_seed(0, "1")
    assert sub_seed(0, "ab") != sub_seed(0, "a", "b")


def test_range_is_taken_by_numpy_and_torch():
    torch = pytest.importorskip("torch")
    seeds = [sub_seed(i, "x") for i in range(1000)]
    assert all(0 <= s < 2**63 for s in seeds)
    assert max(seeds) > 2**62  # the top bit is used: 1000 draws all below is 2**-1000
    np.random.default_rng(seeds[0])
    torch.manual_seed(max(seeds))

"""Records of mixed columns: what is drawn and rounded is a record."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from victims.errors import UserError
from victims.schema import Column, Schema

SCHEMA = Schema(
    [
        Column("city", "category", ("", "Oslo", "Rome")),
        Column("visits", "integer", gaps=True, log=True, high=3.0),
        Column("smokes", "binary"),
        Column("income", "numeric", low=-1.0, high=4.0),
    ]
)


def test_outputs_become_the_nearest_record() -> None:
    outputs = torch.tensor([[0.2, 0.5, 0.3, 0.47, 0.1, 0.6, 0.33], [0, 0, 1, 0.5, 0.9, 0.2, -2]])
    found = SCHEMA.nearest_records(outputs)
    assert found[:, :3].tolist() == [[0, 1, 0], [0, 0, 1]]
    table = SCHEMA.table_of_rows(found.numpy())
    assert table["visits"].tolist()[0] == round(np.expm1(0.47 * 3))
    assert np.isnan(table["visits"][1])
    assert found[1, 3] == 0  # as records have it
    assert found[:, 5].tolist() == [1, 0]
    assert torch.equal(SCHEMA.nearest_records(found), found)


@pytest.mark.parametrize("size", [1.0, 30.0, 1000.0])
def test_whatever_a_network_puts_out_becomes_a_finite_record(size: float) -> None:
    """Untrained and diverged networks too: a logarithm of -1 visits was minus infinity."""
    outputs = size * torch.randn(500, 7, generator=torch.Generator().manual_seed(0))
    found = SCHEMA.nearest_records(outputs)
    assert torch.isfinite(found).all()
    assert (SCHEMA.table_of_rows(found.numpy())["visits"].dropna() >= 0).all()
    assert torch.equal(SCHEMA.nearest_records(found), found)


def test_a_table_with_negative_amounts_is_stored_as_none() -> None:
    """A package may release -3 visits where the data have none."""
    found = SCHEMA.rows_of_table({"city": ["Oslo"], "visits": [-3], "smokes": [0], "income": [-5]})
    assert found[0, 3] == 0
    np.testing.assert_allclose(found[0, 6], -0.8)


def test_levels_are_drawn_by_their_probabilities() -> None:
    outputs = torch.tensor([[0.5, 0.2, 0.3, 0.1, 0.25, 0.7, 0.1]]).expand(4000, -1)
    drawn = SCHEMA.draw_levels(
        outputs, torch.rand(4000, 7, generator=torch.Generator().manual_seed(0))
    )
    assert set(drawn[:, :3].sum(1).tolist()) == {1.0}
    shares = drawn.mean(0)
    np.testing.assert_allclose(shares[[0, 1, 2, 4, 5]], [0.5, 0.2, 0.3, 0.25, 0.7], atol=0.03)
    assert torch.equal(drawn[:, 6], outputs[:, 6])


def test_it_is_kept_as_text_and_refuses_what_it_does_not_know() -> None:
    again = Schema.of_plain(SCHEMA.as_plain())
    assert again.columns == SCHEMA.columns
    assert again.width == 7
    with pytest.raises(UserError, match="'Bonn' is none of its levels"):
        again.rows_of_table({"city": ["Bonn"], "visits": [1], "smokes": [0], "income": [2]})
    with pytest.raises(UserError, match="'income': a number is missing"):
        again.rows_of_table({"city": [""], "visits": [np.nan], "smokes": [0], "income": [np.nan]})

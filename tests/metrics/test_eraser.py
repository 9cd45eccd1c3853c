"""Comprehensiveness and sufficiency, by hand."""

import pytest
import torch

from biasprop import InputError
from biasprop.metrics import erasure

AMOUNTS = torch.tensor([[0.5, 0.2, 0.1, 0.0], [0.1, 0.4, 0.0, 0.0]], dtype=torch.float64)
PRESENT = torch.tensor([[True, True, True, True], [True, True, False, False]])


def probability(shown):
    return (AMOUNTS * shown).sum(1)


def test_by_hand():
    found = erasure(probability, AMOUNTS, PRESENT, shares=(0.25, 0.5))
    # first: one token, then two of four; second: one of two, twice
    torch.testing.assert_close(found.comprehensiveness, torch.tensor([(0.5 + 0.7) / 2, 0.4], dtype=torch.float64))
    torch.testing.assert_close(found.sufficiency, torch.tensor([(0.3 + 0.1) / 2, 0.1], dtype=torch.float64))
    assert "over 2 examples" in str(found)


def test_the_worst_order_and_all_tokens():
    worst = erasure(probability, -AMOUNTS, PRESENT, shares=(0.25,))
    torch.testing.assert_close(worst.comprehensiveness, torch.tensor([0.0, 0.1], dtype=torch.float64))
    everything = erasure(probability, AMOUNTS, shares=(1.0,))
    torch.testing.assert_close(everything.comprehensiveness, AMOUNTS.sum(1))
    torch.testing.assert_close(everything.sufficiency, torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize(
    "arguments",
    [
        (AMOUNTS[0],),
        (AMOUNTS, PRESENT[:1]),
        (AMOUNTS, PRESENT & False),
        (AMOUNTS * torch.nan,),
        (AMOUNTS, None, (0.0,)),
    ],
)
def test_bad_input(arguments):
    with pytest.raises(InputError):
        erasure(probability, *arguments)

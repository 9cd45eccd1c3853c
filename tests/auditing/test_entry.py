"""Entries add up to the same in any order and any split, to the last bit."""

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from audits import classifier, examples
from hypothesis import given
from hypothesis import strategies as st

from biasprop.attribution import Explainer
from biasprop.auditing import Entry
from biasprop.auditing.entry import digest_of
from biasprop.auditing.exact import exact, read_exact, rounded, written
from biasprop.auditing.examining import examine

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(st.lists(FINITE, max_size=30))
def test_a_sum_is_exact(values):
    total = sum(map(Fraction, values), Fraction(0))
    found = exact(torch.tensor(values, dtype=torch.float64))
    assert Fraction(found, 2**1074) == total
    assert read_exact(written(found)) == found
    if abs(total) < 1e308:
        assert rounded([found]).item() == float(total)


@pytest.mark.parametrize(
    "text", ["", "1", "p3", "1p99999", "gp0", "1p-1", None, 3, "1p2p3", "f" * 601 + "p0", "1p4097"]
)
def test_what_is_no_sum_is_refused(text):
    with pytest.raises(ValueError, match="is no exact sum"):
        read_exact(text)


MODEL, (X, LABELS) = classifier(), examples()
ONE_BY_ONE = [examine(Explainer(MODEL), X[k : k + 1], LABELS[k : k + 1], torch.tensor([k])) for k in range(len(X))]


def together(entries):
    total = entries[0]
    for entry in entries[1:]:
        total = total + entry
    return total


def equal(one, two):
    tensors = all(torch.equal(one.tensors[name], two.tensors[name]) for name in one.tensors)
    return tensors and one.sources == two.sources and one.digest == two.digest


@given(st.permutations(range(len(X))), st.lists(st.integers(1, len(X) - 1), max_size=6))
def test_any_split_in_any_order_adds_up_to_the_same(order, cuts):
    ends = [0, *sorted(set(cuts)), len(X)]
    groups = [order[a:b] for a, b in pairwise(ends)]
    found = together([together([ONE_BY_ONE[k] for k in group]) for group in groups])
    assert equal(found, Entry.total(ONE_BY_ONE))
    assert found.tensors["positions"].tolist() == list(range(len(X)))
    assert found.digest == digest_of(torch.arange(len(X)), X, LABELS)
    whole, parts = Entry.total(ONE_BY_ONE).findings(), found.findings()
    assert torch.equal(whole.amounts, parts.amounts)
    assert torch.equal(whole.masses, parts.masses)


def test_the_digest_knows_where_an_example_stands():
    positions = torch.arange(2)
    assert digest_of(positions, X[:2], LABELS[:2]) != digest_of(positions.flip(0), X[:2], LABELS[:2])
    assert digest_of(positions, X[:2], LABELS[:2]) != digest_of(positions, X[:2], LABELS[:2] + 1)

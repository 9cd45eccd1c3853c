"""The table of all families."""

import operator

import torch

from biasprop import operations


def test_every_family_is_documented():
    for family in operations.FAMILIES:
        assert family.treatment
        assert family.scaling
        for name in family.names.split():
            assert operations.TABLE[operator.attrgetter(name)(torch.ops.aten)] is family

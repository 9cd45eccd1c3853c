"""One family of errors, all of it public."""

import inspect

import pytest

import biasprop
from biasprop import errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_of_the_family_and_public(kind):
    assert issubclass(kind, biasprop.BiaspropError)
    assert getattr(biasprop, kind.__name__) is kind
    assert kind.__name__ in biasprop.__all__
    assert kind.__name__ in errors.__all__
    assert kind.__doc__


def test_all_public_names_exist():
    assert len(KINDS) == len(errors.__all__)
    assert all(hasattr(biasprop, name) for name in biasprop.__all__)

"""The collector of garbage is what it was, whatever happens while it is off."""

import gc

import pytest

from biasprop.garbage import uncollected


@pytest.fixture(autouse=True)
def _collecting():
    before = gc.isenabled()
    yield
    (gc.enable if before else gc.disable)()


@pytest.mark.parametrize("before", [True, False])
def test_it_is_off_and_then_as_before(before):
    (gc.enable if before else gc.disable)()
    with uncollected(), uncollected():
        assert not gc.isenabled()
    assert gc.isenabled() == before


def test_also_after_an_error():
    gc.enable()
    with pytest.raises(ValueError, match="inside"), uncollected():
        raise ValueError("inside")
    assert gc.isenabled()

import pytest


@pytest.fixture(autouse=True)
def _closed(nothing_left_open):
    """Here each test."""

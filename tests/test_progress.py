"""Progress bars: everything is taken in its order, with a bar on a terminal only."""

import sys

import pytest

from biasprop.progress import track


def endless():
    yield from range(3)


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("make", [lambda: [0, 1, 2], lambda: range(3), endless])
def test_all_items_in_their_order_and_nothing_written_where_no_terminal_is(make, shown, capsys):
    assert list(track(make(), "counting", shown)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("make", [lambda: [0, 1, 2], endless])
def test_a_bar_on_a_terminal_on_standard_error(make, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    monkeypatch.setenv("TERM", "xterm")
    assert list(track(make(), "counting")) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "counting" in captured.err


def test_no_bar_without_rich(monkeypatch):
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    assert list(track([1, 2], "counting")) == [1, 2]

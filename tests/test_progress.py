"""Progress: everything is taken in its order, with a bar on a terminal, and lines elsewhere."""

import sys

import pytest

from biasprop import progress
from biasprop.progress import counting, track


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


def test_lines_where_no_terminal_is(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with counting(100, "explaining") as more:
        more(20)  # done before
        for _ in range(8):
            now[0] += 5
            more(10)
    assert capsys.readouterr().err.splitlines() == [
        "explaining: 40 of 100 (40 %), 2/s, 0:30 left",
        "explaining: 60 of 100 (60 %), 2/s, 0:20 left",
        "explaining: 80 of 100 (80 %), 2/s, 0:10 left",
        "explaining: 100 of 100 (100 %), 2/s, 0:00 left",
    ]
    with counting(None, "explaining") as more:
        now[0] += 3700
        more(2)
    assert capsys.readouterr().err == "explaining: 2, 0/s\n"


def test_how_far_it_came_when_interrupted():
    with (
        pytest.raises(KeyboardInterrupt, match="^at 78 %, the same call goes on$"),
        counting(100, "explaining", True, "the same call goes on") as more,
    ):
        more(78)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt, match="^after 2$"), counting(None, "explaining") as more:
        more(2)
        raise KeyboardInterrupt

"""Progress: everything is taken in its order, with a bar on a terminal, and lines elsewhere."""

import io
import sys
import threading
import time

import pytest

from biasprop import progress
from biasprop.progress import counting, in_parts, track, waiting


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


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard error a terminal, of a person with no patience; what is written there."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PATIENCE", 0.0)

    def make():  # in the test itself: pytest sets it anew before that
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return make


def comes(true):
    """Whether something is so within ten seconds."""
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def shown(screen, label):
    return comes(lambda: label in screen.getvalue())


def test_what_takes_long_is_shown_on_a_terminal_and_gone_when_done(terminal):
    screen = terminal()
    threads = threading.active_count()
    with waiting("capturing"):
        assert shown(screen, "capturing")
        with waiting("compiling"), counting(3, "explaining") as more:  # parts of it are not shown for themselves
            more(3)
    assert screen.getvalue().endswith("\x1b[2K")  # the line is cleared
    assert "compiling" not in screen.getvalue()
    assert "explaining" not in screen.getvalue()
    assert comes(lambda: threading.active_count() == threads)
    with pytest.raises(KeyError), waiting("again"):
        assert shown(screen, "again")
        raise KeyError
    assert comes(lambda: threading.active_count() == threads)
    with waiting("at last"):
        assert shown(screen, "at last")


def test_parts_are_counted(terminal):
    screen = terminal()
    found = []
    for part in in_parts("abc", "explaining"):
        found.append(part)
        assert shown(screen, f"{len(found) - 1}/3")
    assert found == ["a", "b", "c"]
    before = screen.getvalue()
    assert list(in_parts("d", "one")) == ["d"]
    assert screen.getvalue() == before


def test_what_is_done_soon_is_not_shown(terminal, monkeypatch):
    screen = terminal()
    monkeypatch.setattr(progress, "PATIENCE", 60.0)
    with waiting("capturing"):
        time.sleep(0.05)
    assert screen.getvalue() == ""


@pytest.mark.parametrize("error", [None, io.StringIO()])
def test_nothing_is_shown_where_nobody_looks(error, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", error)
    threads = threading.active_count()
    with waiting("capturing"):
        assert threading.active_count() == threads
    assert error is None or error.getvalue() == ""


def test_a_bar_that_is_not_wanted_keeps_no_other_away(terminal):
    screen = terminal()
    with counting(3, "quiet", shown=False), waiting("capturing"):
        assert shown(screen, "capturing")
    assert "quiet" not in screen.getvalue()


def test_no_waiting_without_rich(terminal, monkeypatch):
    screen = terminal()
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    with waiting("capturing") as more:
        more(1)
    assert screen.getvalue() == ""

"""What is printed: names are shown, not obeyed."""

import io

import pytest

from biasprop import FileError
from biasprop.cli import guarded
from biasprop.cli.screen import say


def test_lines_stay_lines():
    file = io.StringIO()
    say("one\n\ttwo\x07", file)
    assert file.getvalue() == "one\n\ttwo\\x07\n"


def test_letters_that_the_terminal_does_not_have():
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    say("é", file)
    assert raw.getvalue() == b"\\xe9\n"


def test_errors_are_shown_too(capsys):
    def fails():
        raise FileError("Cannot read \x1b]0;title\x07\udcff.png")

    with pytest.raises(SystemExit, match="2"):
        guarded(fails)
    assert capsys.readouterr().err == "error: Cannot read \\x1b]0;title\\x07\\udcff.png\n"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_out_of_memory_is_a_message(error, capsys):
    def fails():
        raise error

    with pytest.raises(SystemExit, match="2"):
        guarded(fails)
    assert capsys.readouterr().err.startswith("error: Out of memory. Take fewer inputs")


def test_other_errors_are_not_hidden():
    def fails():
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        guarded(fails)

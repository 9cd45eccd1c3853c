"""Text of others is shown, not obeyed."""

import pytest

from biasprop.report import shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo é 日本.png", "photo é 日本.png"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        (b"\xff.png".decode(errors="surrogateescape"), "\\udcff.png"),
    ],
)
def test_names(name, expected):
    assert shown(name) == expected


def test_what_stays():
    assert shown("a\n\tb", keep="\n") == "a\n\\tb"

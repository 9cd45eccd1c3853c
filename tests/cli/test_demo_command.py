"""``biasprop demo``: pictures, offline."""

import pytest


def test_demo(folder, run):
    pytest.importorskip("sklearn")
    status, out, err = run("demo", "-o", "pictures")
    assert status == 0, err
    assert "digits (CNN)" in out
    assert {p.name for p in (folder / "pictures").iterdir()} == {"digits.png", "tumour.png", "accuracy.png"}

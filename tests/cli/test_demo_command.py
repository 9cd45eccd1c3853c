"""``biasprop demo``: pictures, offline."""

import sys

import pytest


@pytest.mark.slow
def test_demo(folder, run):
    pytest.importorskip("sklearn")
    status, out, err = run("demo", "-o", "pictures")
    assert status == 0, err
    assert "digits (CNN)" in out
    assert {p.name for p in (folder / "pictures").iterdir()} == {"digits.png", "tumour.png", "accuracy.png"}


def test_its_data_come_with_an_extra(folder, run, monkeypatch):
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    status, _, err = run("demo", "-o", "pictures")
    assert status == 2
    assert "The demo needs scikit-learn, which is not installed: pip install 'biasprop[demo]'." in err
    assert "Traceback" not in err

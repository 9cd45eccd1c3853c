"""Optional packages: one clear error where one is missing or broken."""

import sys

import pytest

from biasprop import MissingExtra
from biasprop.extras import require


def test_a_package_that_is_there():
    assert require("json.decoder", "test").JSONDecoder


def test_a_package_that_is_missing(monkeypatch):
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(
            MissingExtra, match=r"Drawing needs matplotlib, which is not installed: pip install 'biasprop\[plot\]'"
        ):
            require(module, "plot")
    with pytest.raises(MissingExtra, match="This needs no_such_package, which is not installed"):
        require("no_such_package.part", "test")


def test_a_package_that_is_broken(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match="cannot be imported .*no_such_package"):
        require("broken_package", "test")

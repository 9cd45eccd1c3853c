"""Tables: csv and parquet give the same rows."""

import sys

import pytest
import torch

from biasprop import FileError, MissingExtra
from biasprop.loading import Preparation, batches, count, read

HOW = Preparation(rows=slice(0, 2), drop=("name",), labels="died")


def test_csv(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(",age,name,died\n0,30,Ann,1.0\n1,40,Bob,no\n2,,Eve,0\n")
    items = list(read([path], HOW))
    assert count([path], HOW) == 2
    assert [item.label for item in items] == [1, "no"]
    assert items[0].feature_names == ["age"]
    assert [len(batch) for batch in batches(iter(items), 5)] == [2]
    torch.testing.assert_close(items[1].x, torch.tensor([40.0]))


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    table = pyarrow.table({"age": [30, 40, None], "name": ["Ann", "Bob", "Eve"], "died": [1.0, 0.0, 1.0]})
    parquet.write_table(table, path)
    items = list(read([path], HOW))
    assert count([path], HOW) == 2
    assert [item.label for item in items] == [1, 0]
    torch.testing.assert_close(items[1].x, torch.tensor([40.0]))
    path.write_bytes(b"no parquet")
    with pytest.raises(FileError, match="as parquet"):
        count([path], HOW)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "t.parquet").write_bytes(b"")
    with pytest.raises(MissingExtra, match=r"Reading parquet needs pyarrow.*biasprop\[parquet\]"):
        count([tmp_path / "t.parquet"], HOW)

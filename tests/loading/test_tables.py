"""Tables: csv and parquet give the same rows."""

import sys

import pytest
import torch

from biasprop import FileError, InputError, MissingExtra
from biasprop.loading import Preparation, batches, read

HOW = Preparation(rows=slice(0, 2), drop=("name",), labels="died")


def test_csv(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(",age,name,died\n0,30,Ann,1.0\n1,40,Bob,no\n2,,Eve,0\n")
    items = list(read([path], HOW))
    assert len(read([path], HOW)) == 2
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
    assert len(read([path], HOW)) == 2
    assert [item.label for item in items] == [1, 0]
    torch.testing.assert_close(items[1].x, torch.tensor([40.0]))
    path.write_bytes(b"no parquet")
    with pytest.raises(FileError, match="as parquet"):
        len(read([path], HOW))


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "t.parquet").write_bytes(b"")
    with pytest.raises(MissingExtra, match=r"Reading and writing parquet needs pyarrow.*biasprop\[parquet\]"):
        len(read([tmp_path / "t.parquet"], HOW))


def test_numbers_that_float32_does_not_have(tmp_path):
    for number in ("1e300", "9" * 400, "inf", "nan"):
        (tmp_path / "t.csv").write_text(f"a,b\n1,{number}\n")
        with pytest.raises(InputError, match="row 0: column 'b' is missing or infinite"):
            list(read([tmp_path / "t.csv"], Preparation()))


def test_a_table_that_claims_too_much(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"a": [0] * 100_000}), tmp_path / "t.parquet")
    monkeypatch.setattr("biasprop.loading.items.LARGEST", 1000)
    with pytest.raises(FileError, match="the table claims 100000 x 1 numbers, and at most 1000"):
        len(read([tmp_path / "t.parquet"], Preparation()))

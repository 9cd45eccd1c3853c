"""Graphs as plain values: what comes back is what went in, and nothing that a record says is run or imported."""

import json
import math

import pytest
import torch
from torch.utils import _pytree as pytree

from biasprop.errors import CaptureError, FileError
from biasprop.graph import as_plain, from_plain
from biasprop.graph.record import _returned, _structure

VALUES = [
    None,
    True,
    3,
    0.1,
    math.inf,
    -math.inf,
    1 + 2j,
    "same",
    [1, [2.5, None]],
    (1, (2, "x")),
    {"a": (1,), "node": 2},
    slice(None, 3, 2),
    torch.Size([2, 3]),
    torch.float16,
    torch.strided,
    torch.channels_last,
    torch.device("cpu"),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back(value):
    found = from_plain(json.loads(json.dumps(as_plain(value), allow_nan=False)))
    assert found == value
    assert isinstance(found, tuple if isinstance(value, tuple) else type(value))


def test_not_a_number_comes_back():
    assert math.isnan(from_plain(as_plain(math.nan)))


def test_what_cannot_be_written_down_is_named():
    with pytest.raises(CaptureError, match="object object"):
        as_plain([object()])


@pytest.mark.parametrize(
    "plain", [{"torch": "load"}, {"torch": "nn"}, {"eval": "1"}, {"torch": "utils.data"}, {"a": 1, "b": 2}, {}]
)
def test_only_values_are_read(plain):
    with pytest.raises((FileError, AttributeError, ValueError)):
        from_plain(plain)


@pytest.mark.parametrize("output", [torch.ones(1), [1, (2, {"a": 3})], {"logits": 1, "hidden": (2, 3)}, None])
def test_the_structure_of_an_output_comes_back(output):
    spec = pytree.tree_structure(output)
    assert _returned(json.loads(json.dumps(_structure(spec)))) == spec


def test_the_structure_of_an_output_imports_nothing(monkeypatch):
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"{name} is imported"))
    leaf = {"type": None, "context": None, "children_spec": []}
    context = json.dumps({"default_factory_module": "os", "default_factory_name": "system", "dict_context": []})
    enum = json.dumps([{"__enum__": True, "fqn": "os:system", "name": "x"}])
    for kind, held in (("collections.defaultdict", context), ("builtins.dict", enum), ("builtins.dict", context)):
        with pytest.raises(FileError):
            _returned([1, {"type": kind, "context": held, "children_spec": [leaf]}])
    with pytest.raises(FileError, match="not known"):
        _returned([1, {"type": "os.system", "context": "null", "children_spec": []}])

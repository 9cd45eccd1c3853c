"""The examples run: each in a setting of seconds, on real data."""

import importlib.util
import json
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name, monkeypatch, *arguments):
    """An example as a module, with its command line."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_attribution_prior(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BIASPROP_DATA", str(data))
    module = load("attribution_prior", monkeypatch, "--splits", 2, "--output", tmp_path)
    monkeypatch.setattr(module, "STEPS", 5)
    monkeypatch.setattr(module, "STRENGTHS", (0.1, 1.0))
    module.main()
    first = (tmp_path / "attribution_prior.json").read_text()
    assert "2 splits of NHANES I" in capsys.readouterr().out
    assert all(0.4 < value < 1 for row in json.loads(first) for value in row.values())
    assert (tmp_path / "attribution_prior.png").stat().st_size > 10_000
    module.main()
    assert (tmp_path / "attribution_prior.json").read_text() == first


def test_bias_free_training(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BIASPROP_DATA", str(data))
    small = ("--seeds", 1, "--epochs", 1, "--train", 1000, "--test", 200, "--output", tmp_path)
    load("bias_free_training", monkeypatch, *small).main()
    results = json.loads((tmp_path / "bias_free_training.json").read_text())["results"]
    assert len(results) == 6
    for key, row in results.items():
        assert row["accuracy"] > 30, key
        # Not zero: on a uniform background all values of a pooling window are equal, and rounding chooses one.
        assert (row["gap"] < 1) == ("with bias" not in key), key
    assert "1 seeds" in capsys.readouterr().out

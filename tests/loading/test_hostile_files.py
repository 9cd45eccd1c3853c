"""Damaged files of every format: a right result or an error of ours, never another; some now, thousands when slow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("onnx2torch")

import hostile

TESTS = Path(hostile.__file__).parent


@pytest.mark.parametrize("name", hostile.FORMATS)
def test_some_damaged_files(name, tmp_path):
    refused = hostile.attack(name, 25, 0, tmp_path)
    assert refused or name in ("a.csv", "classes.txt", "a.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", hostile.FORMATS)
def test_thousands_with_a_limit_on_memory_and_time(name):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])}
    command = [sys.executable, hostile.__file__, name, "2000", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "of 2000 refused" in done.stdout


def test_an_error_that_is_not_ours_is_found(tmp_path, monkeypatch):
    def careless(path):
        if path.read_bytes() != b"good":
            raise KeyError("inside")

    monkeypatch.setitem(hostile.FORMATS, "x", hostile.Format(lambda: b"good", careless))
    with pytest.raises(AssertionError, match="KeyError"):
        hostile.attack("x", 5, 0, tmp_path)

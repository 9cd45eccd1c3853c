"""Machine code that is kept goes when anything that it was made of changes."""

import os
import subprocess
import sys

import pytest

keeping = pytest.importorskip("biasprop.kernels.cpu.keeping")

KERNEL = """
from part import part
from biasprop.kernels.cpu.keeping import kept

@kept
def kernel(x):
    return part(x)
"""

PART = """
from numba import njit

@njit
def part(x):
    return x + {added}
"""

SCRIPT = """
from pathlib import Path
from biasprop.kernels.cpu import keeping

keeping.STAMP = keeping.stamp_of(Path("."))
from kernel import kernel

print(kernel(1), sum(kernel.stats.cache_hits.values()))
"""


def called(folder, added):
    """What the kernel returns in a process of its own, and how often it was found on disk."""
    (folder / "part.py").write_text(PART.format(added=added))
    environment = os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=folder)
    return tuple(map(int, done.stdout.split()))


def test_a_kernel_is_kept_until_a_file_changes_that_it_only_calls(tmp_path):
    (tmp_path / "kernel.py").write_text(KERNEL)
    assert called(tmp_path, added=1) == (2, 0)
    assert called(tmp_path, added=1) == (2, 1)
    assert called(tmp_path, added=7) == (8, 0)


def test_every_kernel_of_ours_is_kept_by_what_the_folder_holds():
    from biasprop.kernels.cpu import rows, stencils, sums

    for kernel in (rows._scatter_strip, stencils._messages_of, sums._components_of):
        assert kernel.py_func.__qualname__.endswith(keeping.STAMP)

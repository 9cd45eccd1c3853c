"""Large tensors that follow each other use the same memory."""

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import sys
import torch
from biasprop.allocation import keep_freed_memory

def faults(rows):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(rows, 2**20) + torch.ones(rows, 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

rows, *each = map(int, sys.argv[1:])
for more in each:
    keep_freed_memory(more)
faults(rows)
print(faults(rows))
"""

AT_FIRST = {"MALLOC_TRIM_THRESHOLD_": "131072"}  # what glibc starts with

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library decides by itself")


def page_faults(mebibytes, *kept, **environment):
    """Of ten sums of such tensors, in a process of their own that is to keep so many bytes more."""
    command = [sys.executable, "-c", SCRIPT, *map(str, (mebibytes // 4, *kept))]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=inherited | environment)
    return int(done.stdout)


def test_the_kernel_need_not_clear_the_memory_of_the_next_tensor():
    assert page_faults(16, 0) < 100
    assert page_faults(16, **AT_FIRST) > 1000


def test_larger_tensors_are_kept_where_more_is_asked_for_and_later_less_changes_nothing():
    assert page_faults(64, 0, 2**27, 0) < 100
    assert page_faults(64, 0) > 10_000


def test_what_the_environment_says_is_left_alone():
    assert page_faults(16, 0, **AT_FIRST) > 1000

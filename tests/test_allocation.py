"""Large tensors that follow each other use the same memory."""

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
from biasprop.allocation import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(4, 2**20) + torch.ones(4, 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {kept}:
    keep_freed_memory()
faults()
print(faults())
"""


def page_faults(kept):
    """Of ten sums of tensors of 16 MiB, in a process of their own."""
    command = [sys.executable, "-c", SCRIPT.format(kept=kept)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    if not kept:
        environment["MALLOC_TRIM_THRESHOLD_"] = "131072"  # what glibc starts with
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library decides by itself")
def test_the_kernel_need_not_clear_the_memory_of_the_next_tensor():
    few, many = page_faults(kept=True), page_faults(kept=False)
    assert few < 100
    assert many > 1000

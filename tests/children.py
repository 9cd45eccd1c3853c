"""Processes for tests to kill. tests/ is on the path."""

import signal
import subprocess
import sys
from pathlib import Path

import biasprop

# `biasprop.files` without the rest of the library, which takes seconds to import.
BARE = f"""
import os, sys, time, types
from pathlib import Path

for name in ("biasprop", "biasprop.files"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [os.path.join({str(Path(biasprop.__file__).parents[1])!r}, *name.split("."))]
"""


def started(script, *arguments, environment=None):
    """A process that runs a script, and the first line that it says."""
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    return process, process.stdout.readline().strip()


def kill(process):
    """As ``kill -9`` does, or the system where memory runs out."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

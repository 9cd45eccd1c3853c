"""Which process a file belongs to, so that what a killed one has left behind is told from what a running one needs."""

import hashlib
import os
import platform
import re
import secrets
from contextlib import suppress

__all__ = ["TAG", "is_gone", "tag"]

TAG = re.compile(r"([0-9a-f]{8})-(\d{1,10})-([0-9a-f]{8})")
"""The form of a tag: machine, process, and a number drawn when it started."""

STARTED = secrets.token_hex(4)  # tells this process from an earlier one that had the same number


def tag() -> str:
    """What a process marks its files with; of letters, digits and hyphens."""
    return f"{_machine()}-{os.getpid()}-{STARTED}"


def is_gone(mark: str) -> bool:
    """Whether the process with this tag is known to have ended; never, where it may run on another machine."""
    found = TAG.fullmatch(mark)
    if found is None or found[1] != _machine():
        return False
    number = int(found[2])
    if number == os.getpid():
        return found[3] != STARTED
    if os.name != "posix":  # elsewhere, signal 0 is a signal like others
        return False
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it is somebody else's
        return False
    return False


def _machine() -> str:
    """Of the machine, and of the container: each has process numbers of its own."""
    name = platform.node()
    with suppress(OSError):
        name += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(name.encode()).hexdigest()[:8]

"""One process at a time; what a killed one has held is free."""

import os
import threading
import time

import pytest
from children import BARE, kill, started

from biasprop import FileError
from biasprop.files import locked, locks, processes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no such locks on Windows")

HOLDS = f"""{BARE}
from biasprop.files.locks import locked

with locked(sys.argv[1]):
    forked = os.fork() if len(sys.argv) > 2 else 1
    if forked:
        print(os.getpid(), flush=True)
    time.sleep(60 if forked else float(sys.argv[2]))
    os._exit(0)
"""


def test_another_process_is_refused_and_a_killed_one_is_not_waited_for(tmp_path):
    path = tmp_path / "state"
    process, number = started(HOLDS, path)
    try:
        begun = time.monotonic()
        message = rf"state is in use by another process {number}: wait until"
        with pytest.raises(FileError, match=message), locked(path):
            pass
        assert time.monotonic() - begun < 5
    finally:
        kill(process)
    assert [p.name for p in tmp_path.iterdir()] == [".state.lock"]
    with locked(path):
        assert (tmp_path / ".state.lock").read_text() == processes.tag()
    assert list(tmp_path.iterdir()) == []


def test_what_children_of_a_killed_process_hold_is_waited_for(tmp_path):
    """Of a loader's workers, which notice after some seconds that their process is gone."""
    path = tmp_path / "state"
    process, _ = started(HOLDS, path, "1.0")
    kill(process)
    with locked(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_but_not_for_ever(tmp_path, monkeypatch):
    path = tmp_path / "state"
    process, number = started(HOLDS, path, "3.0")
    kill(process)
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    with pytest.raises(FileError, match=f"in use by another process {number}"), locked(path):
        pass


def test_two_threads_of_one_process(tmp_path):
    path = tmp_path / "state"
    with locked(path), pytest.raises(FileError, match="in use"), locked(path):
        pass
    inside, most = [], []

    def work():
        while True:
            try:
                with locked(path):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.001)
                    inside.pop()
                return
            except FileError:
                time.sleep(0.001)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    assert list(tmp_path.iterdir()) == []


def test_it_is_released_whatever_happens(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "state"):
        raise KeyboardInterrupt
    with locked(tmp_path / "state"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_one_cannot_write(tmp_path):
    message = r"Cannot write .*nowhere.state: No such file.*Choose a folder you can write to"
    with pytest.raises(FileError, match=message), locked(tmp_path / "nowhere" / "state"):
        pass


def test_file_systems_without_locks_refuse_nobody(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    with locked(tmp_path / "state"), locked(tmp_path / "state"):
        pass
    assert list(tmp_path.iterdir()) == []

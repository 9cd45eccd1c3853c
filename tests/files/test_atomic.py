"""Files are written whole or not at all; what a killed process leaves behind is removed, and nothing else."""

import os
import stat
import time

import pytest
from children import BARE, kill, started

from biasprop import FileError
from biasprop.files import make_folder, processes, remove_leftovers, write_atomically

pytestmark = pytest.mark.usefixtures("nothing_left_open")


def test_a_file_is_replaced_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(temporary):
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert path.read_text() == "old"

    assert write_atomically(path, write) == path
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_interrupts_the_writing_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        raise error("in the middle")

    with pytest.raises(error, match="in the middle"):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="no such permissions on Windows")
def test_others_may_read_it_as_the_mask_says(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.txt", lambda temporary: temporary.write_text("text"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_where_one_cannot_write(tmp_path):
    with pytest.raises(FileError, match=r"Cannot write .*a\.txt: No such file.*Choose a folder you can write to"):
        write_atomically(tmp_path / "nowhere" / "a.txt", lambda temporary: temporary.write_text("text"))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(FileError, match="Cannot write to the folder .*Choose another with --output"):
        make_folder(tmp_path / "file")
    assert make_folder(tmp_path / "one" / "two").is_dir()
    assert list((tmp_path / "one" / "two").iterdir()) == []


WRITES = f"""{BARE}
from biasprop.files.atomic import write_atomically

def write(temporary):
    temporary.write_text("half")
    print(temporary.name, flush=True)
    time.sleep(60)

write_atomically(Path(sys.argv[1]), write)
"""


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_the_next_write_removes_what_a_killed_one_has_left(tmp_path):
    path = tmp_path / "a.txt"
    process, temporary = started(WRITES, path)
    try:
        write_atomically(path, lambda file: file.write_text("mine"))
        assert names(tmp_path) == sorted([temporary, "a.txt"])  # the other one is running
    finally:
        kill(process)
    assert names(tmp_path) == sorted([temporary, "a.txt"])
    write_atomically(tmp_path / "b.txt", lambda file: file.write_text("another file's are let alone"))
    assert names(tmp_path) == sorted([temporary, "a.txt", "b.txt"])
    write_atomically(path, lambda file: file.write_text("again"))
    assert names(tmp_path) == ["a.txt", "b.txt"]
    assert path.read_text() == "again"


def left(path, mark, age=0.0):
    """A temporary file of the process with that tag."""
    seen = []
    write_atomically(path, lambda temporary: (seen.append(temporary), temporary.write_text("")))
    file = path.with_name(seen[0].name.replace(processes.tag(), mark))
    file.write_text("half")
    os.utime(file, (time.time() - age,) * 2)
    return file


def test_files_of_other_machines_are_removed_when_they_are_a_day_old(tmp_path):
    machine, number, started = processes.tag().split("-")
    path, other = tmp_path / "a.txt", "00000000" if machine != "00000000" else "11111111"
    kept = [
        left(path, f"{other}-{number}-{started}"),
        left(path, f"{other}-999999999-{started}", age=23 * 3600),
        left(path, f"{machine}-{number}-{started}"),
    ]
    gone = [left(path, f"{other}-{number}-{started}", age=25 * 3600)]
    if os.name == "posix":
        gone.append(left(path, f"{machine}-999999999-{started}"))  # no process has such a number
        gone.append(left(path, f"{machine}-{number}-{'0' * 8}"))  # one before us that had ours
    write_atomically(path, lambda file: file.write_text("text"))
    assert [f.exists() for f in kept] == [True] * len(kept)
    assert [f.exists() for f in gone] == [False] * len(gone)


@pytest.mark.skipif(os.name != "posix", reason="processes are told apart by their start")
def test_what_killed_writers_of_any_file_have_left_in_a_folder_is_removed(tmp_path):
    machine = processes.tag().split("-")[0]
    dead = [left(tmp_path / name, f"{machine}-999999999-00000000") for name in ("a.txt", "b.parquet", "c")]
    mine = left(tmp_path / "d.txt", processes.tag())
    (tmp_path / f"{dead[0].name}.txt").write_text("the user's")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted(["a.txt", "b.parquet", "c", "d.txt", mine.name, f"{dead[0].name}.txt"])


def test_a_file_of_the_users_is_never_removed(tmp_path):
    path = tmp_path / "a.txt"
    dead = left(path, f"{processes.tag().split('-')[0]}-999999999-00000000", age=1e6)
    mine = [f".{path.name}", ".a-1234abcd.txt", f"{dead.name}.txt", f"copy of {dead.name}", dead.name[1:]]
    mine += [dead.name.replace(".txt", ".png"), dead.name.replace("999999999", "nine")]
    for name in mine:
        (tmp_path / name).write_text("mine")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / dead.name.replace("-00000000-", "-11111111-")).mkdir()
    write_atomically(path, lambda file: file.write_text("text"))
    assert names(tmp_path) == sorted(["a.txt", *mine, dead.name.replace("-00000000-", "-11111111-")])


def test_what_is_no_tag_belongs_to_nobody_that_is_known_to_be_gone():
    assert not processes.is_gone("")
    assert not processes.is_gone("12345678-1")
    assert not processes.is_gone(processes.tag())

"""Outputs appear whole or not at all, and never over a file unasked."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vlaec import files
from vlaec.errors import OutputError, UsageError


def test_writes_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out"
    files.write_atomically(str(target), b"data")
    assert target.read_bytes() == b"data"
    assert os.listdir(tmp_path) == ["out"]


def test_refuses_an_existing_file(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists"):
        files.check_output(str(target), force=False)
    with pytest.raises(OutputError, match="exists"):
        files.write_atomically(str(target), b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_force_overwrites_and_keeps_permissions(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    target.chmod(0o600)
    files.check_output(str(target), force=True)
    files.write_atomically(str(target), b"new", force=True)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_force_writes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    files.write_atomically(str(tmp_path / "link"), b"new", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_the_input_is_never_the_output(tmp_path: Path) -> None:
    target = tmp_path / "photo"
    target.write_bytes(b"original")
    (tmp_path / "same").hardlink_to(target)
    with pytest.raises(OutputError, match="is the input"):
        files.check_output(str(tmp_path / "same"), force=True, source=str(target))


def test_names_what_is_in_the_way(tmp_path: Path) -> None:
    for path, message in ((tmp_path, "it is a folder"), (tmp_path / "no" / "out", "no folder")):
        with pytest.raises(OutputError, match=message):
            files.check_output(str(path), force=True)
    with pytest.raises(OutputError, match="cannot write"):
        files.write_atomically(str(tmp_path / "no" / "out"), b"data")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_refuses_a_protected_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission"):
        files.check_output(str(tmp_path / "out"), force=False)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failures_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(_: int) -> None:
        raise failure

    monkeypatch.setattr(os, "fsync", fail)
    expected = OutputError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        files.write_atomically(str(tmp_path / "out"), b"data")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="no files without a name")
@pytest.mark.parametrize("force", [False, True])
def test_files_have_no_name_before_they_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    seen = []
    sync = os.fsync

    def look(descriptor: int) -> None:
        seen.append(os.listdir(tmp_path))
        sync(descriptor)

    target = tmp_path / "out"
    if force:
        target.write_bytes(b"old")
        target.chmod(0o640)
    monkeypatch.setattr(os, "fsync", look)
    files.write_atomically(str(target), b"data", force)
    assert seen == [["out"] if force else []]
    assert target.read_bytes() == b"data" and os.listdir(tmp_path) == ["out"]
    assert not force or stat.S_IMODE(target.stat().st_mode) == 0o640


def test_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "out"
    files.write_atomically(str(target), b"first")
    with pytest.raises(OutputError, match="exists"):
        files.write_atomically(str(target), b"second")
    assert target.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["out"]


def test_of_many_writers_with_force_all_succeed(tmp_path: Path) -> None:
    """Also where the file appears between a look and the writing."""
    writers = 4
    for number in range(20):
        path, barrier, failed = tmp_path / str(number), threading.Barrier(writers), []

        def write(path: Path = path, barrier: threading.Barrier = barrier, failed=failed) -> None:
            barrier.wait()
            try:
                files.write_atomically(str(path), b"x" * 9, force=True)
            except OutputError as error:
                failed.append(error)

        threads = [threading.Thread(target=write) for _ in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed and path.read_bytes() == b"x" * 9
    assert len(list(tmp_path.iterdir())) == 20


def test_of_many_writers_one_wins(tmp_path: Path) -> None:
    refused = []

    def write(number: int) -> None:
        try:
            files.write_atomically(str(tmp_path / "out"), bytes([number]) * 1000)
        except OutputError:
            refused.append(number)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    data = (tmp_path / "out").read_bytes()
    assert len(refused) == 7
    assert len(set(data)) == 1 and data[0] not in refused
    assert os.listdir(tmp_path) == ["out"]


def test_devices_are_written_to_and_not_replaced() -> None:
    files.check_output(os.devnull, force=False)
    files.write_atomically(os.devnull, b"data", force=True)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_unreadable_inputs(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(UsageError, match="cannot read"):
            files.read_bytes(str(path))


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no locks there")
def test_a_folder_that_a_killed_process_has_left_goes(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from vlaec import files
def contents():
    yield "a", b"1"
    print(flush=True)
    sys.stdin.read()
files.write_folder(sys.argv[1], contents())
"""
    call = [sys.executable, "-c", code, str(tmp_path / "killed")]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        (left,) = tmp_path.iterdir()
        os.utime(left, (0, 0))
        files.write_folder(str(tmp_path / "first"), [("b", b"2")])
        assert left.exists()  # its writer lives
        writer.kill()
    os.utime(left)
    files.write_folder(str(tmp_path / "second"), [("b", b"2")])
    assert left.exists()  # too young to be sure
    os.utime(left, (0, 0))
    files.write_folder(str(tmp_path / "third"), [("b", b"2")])
    assert sorted(os.listdir(tmp_path)) == ["first", "second", "third"]

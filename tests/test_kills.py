"""A few of the kills of `benchmarks.kills`, and disks that are full."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import kills
from vlaec import files
from vlaec.errors import OutputError

_LIMITED = """
import os, resource, sys
from vlaec import files
from vlaec.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    files.write_atomically(sys.argv[1], bytes(5000), sys.argv[2] == "force")
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files have a name while they are written")
@pytest.mark.parametrize("force", [False, True])
def test_a_killed_writer_leaves_whole_files_alone(tmp_path: Path, force: bool) -> None:
    """At most one of a few falls between the two calls that replace a file."""
    pause = random.Random(1)
    found = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.append(kills.kill_writer(folder, force, pause))
    assert set(found) <= ({"old", "new", "leftover"} if force else {"nothing", "new"})
    assert found.count("leftover") <= 1


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
@pytest.mark.parametrize("force", [False, True])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, force: bool) -> None:
    target = tmp_path / "out"
    if force:
        target.write_bytes(b"old")
    call = [sys.executable, "-c", _LIMITED, str(target), "force" if force else "new"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.stdout.startswith("cannot write") and not done.stderr
    assert os.listdir(tmp_path) == (["out"] if force else [])
    assert not force or target.read_bytes() == b"old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_a_device_that_is_full_says_so() -> None:
    with pytest.raises(OutputError, match="No space left"):
        files.write_atomically("/dev/full", b"data")

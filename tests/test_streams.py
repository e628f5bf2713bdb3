"""Standard streams that the caller has closed, in every combination."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parent / "golden"
CLOSED = ("0<&-", "1>&-", "2>&-")
COMBINATIONS = [c for n in range(1, 4) for c in itertools.combinations(CLOSED, n)]


def call(closed: tuple[str, ...], *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of `python -m vlaec` started with some streams closed."""
    line = '"$0" -m vlaec "$@" ' + " ".join(closed)
    done = subprocess.run(
        ["bash", "-c", line, sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, "VLAEC_MODELS": str(GOLDEN / "models")},
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("closed", COMBINATIONS)
def test_nothing_goes_wrong(closed: tuple[str, ...]) -> None:
    code, out, err = call(closed, "info", str(GOLDEN / "pixel-q50.vlae"))
    assert code == 0 and not err
    assert (b"1 x 1" in out) == ("1>&-" not in closed)
    code, out, err = call(closed, "info", str(GOLDEN / "absent.vlae"))
    assert code == 2 and not out
    assert (b"cannot read" in err) == ("2>&-" not in closed)


def test_the_file_is_written_whole(tmp_path: Path) -> None:
    """No library's message may end up in it: descriptor 2 was free when it was opened."""
    path = tmp_path / "out.png"
    code, _, _ = call(CLOSED, "decompress", str(GOLDEN / "pixel-q50.vlae"), "-o", str(path))
    assert code == 0 and path.read_bytes().startswith(b"\x89PNG")
    assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    assert os.listdir(tmp_path) == ["out.png"]


def test_what_was_to_go_through_a_closed_stream_does_not_vanish() -> None:
    code, out, err = call(("0<&-",), "info", "-")
    assert code == 2 and b"standard input: it is closed" in err and not out
    source = str(GOLDEN / "pixel-q50.vlae")
    code, out, err = call(("1>&-",), "decompress", source, "-o", "-")
    assert code == 2 and b"standard output: it is closed" in err and not out


def test_warnings_are_single_lines(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{bad")
    for file in (GOLDEN / "models").iterdir():
        (tmp_path / file.name).symlink_to(file)
    done = subprocess.run(
        [sys.executable, "-m", "vlaec", "info", str(GOLDEN / "pixel-q50.vlae")],
        capture_output=True,
        text=True,
        env={**os.environ, "VLAEC_MODELS": str(tmp_path), "PYTHONWARNINGS": ""},
    )
    assert done.returncode == 0 and "tiny" in done.stdout
    assert done.stderr.startswith("vlaec: ") and done.stderr.count("\n") == 1


FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")


@FULL
@pytest.mark.parametrize("stream", [1, 2])
@pytest.mark.parametrize("more", ["--json", "-v"])
def test_streams_that_take_nothing_do_not_cost_the_file(
    tmp_path: Path, stream: int, more: str
) -> None:
    path = tmp_path / "out.png"
    source = str(GOLDEN / "pixel-q50.vlae")
    code, _, err = call((f"{stream}>/dev/full",), "decompress", source, "-o", str(path), more)
    assert path.read_bytes().startswith(b"\x89PNG")
    lost = stream == 1 and more == "--json"
    assert code == (2 if lost else 0)
    assert not lost or err == b"vlaec: cannot write standard output: No space left on device\n"


@FULL
@pytest.mark.parametrize("arguments", [["--help"], ["info", "FILE"], ["decompress", "FILE", "-o-"]])
def test_output_that_is_lost_is_said_in_one_line(arguments: list[str]) -> None:
    source = str(GOLDEN / "pixel-q50.vlae")
    words = [source if word == "FILE" else word for word in arguments]
    code, _, err = call(("1>/dev/full",), *words)
    assert code == 2
    assert err == b"vlaec: cannot write standard output: No space left on device\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no such redirections")
def test_input_that_cannot_be_read() -> None:
    code, out, err = call(("0>/dev/null",), "info", "-")
    assert code == 2 and not out
    assert err == b"vlaec: cannot read standard input: Bad file descriptor\n"

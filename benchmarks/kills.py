"""Kill -9 at random moments: the output is the old file, the whole new one, or nothing.

    python -m benchmarks.kills --writes 500 --commands 60

Writes are those of `vlaec.files`, in a process that does nothing else, so that most kills fall into
one. Commands are `compress`, `decompress`, `archive create` and `archive extract` with the small
models of the tests. After each kill the folder is looked at: what is in it is whole, and nothing
else is there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
_WRITER = """
import os, sys, zlib
from vlaec import files
path, force = sys.argv[1], sys.argv[2] == "force"
for number in range(10**9):
    body = os.urandom(1 + number * 7919 % 3_000_000)
    data = zlib.crc32(body).to_bytes(4, "little") + body
    target = path if force else f"{path}.{number}"
    print(flush=True)
    files.write_atomically(target, data, force)
    if not force:
        os.unlink(target)
"""


def kill_writer(folder: Path, force: bool, pause: random.Random) -> str:
    """What a writer that was killed has left: old, new or nothing. Raises AssertionError."""
    target = folder / "out"
    old = zlib.crc32(b"old").to_bytes(4, "little") + b"old"
    if force:
        target.write_bytes(old)
    call = [sys.executable, "-c", _WRITER, str(target), "force" if force else "new"]
    with subprocess.Popen(call, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause.uniform(0, 0.06))
        process.kill()
    names = os.listdir(folder)
    for name in names:
        data = (folder / name).read_bytes()
        if not name.startswith("out") or zlib.crc32(data[4:]).to_bytes(4, "little") != data[:4]:
            raise AssertionError(f"{name} is not whole")
    if force and names != ["out"]:
        raise AssertionError(f"{names} instead of the file")
    if not names:
        return "nothing"
    return "old" if (folder / names[0]).read_bytes() == old else "new"


def kill_command(models: Path, arguments: list[str], output: str, pause: float) -> str:
    """The same for a command of vlaec; it may end by itself before the pause does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = subprocess.Popen(
            [sys.executable, "-m", "vlaec", *arguments, "-o", output],
            cwd=folder,
            env={**os.environ, "VLAEC_MODELS": str(models)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(pause)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        left = os.listdir(folder)
        folders = [entry for entry in left if entry.startswith(".vlaec-")]
        if set(left) - {output} - set(folders) or (folders and "extract" not in arguments):
            raise AssertionError(f"{arguments} left {left}")
        if output not in left:
            return "a hidden folder" if folders else "nothing"
        _check_whole(folder / output)
        return "new"


def _check_whole(path: Path) -> None:
    """Raise unless what a command has written can be read to its end."""
    from vlaec import images
    from vlaec.photo import container
    from vlaec.sets import container as archive_container

    if path.is_dir():
        for picture in path.iterdir():
            images.read(picture)
    elif path.suffix == ".vlae":
        container.unpack(path.read_bytes())
    elif path.suffix == ".vlaa":
        archive_container.unpack(path.read_bytes())
    else:
        images.read(path)


def commands(models: Path) -> list[tuple[list[str], str]]:
    """Arguments without the output, and the output, of what is killed."""
    archive = TESTS / "golden_sets" / "tiny-binary-lossless-v2.vlaa"
    array = models / "set.npz"
    subprocess.run(
        [sys.executable, "-m", "vlaec", "archive", "extract", str(archive), "-o", str(array)],
        env={**os.environ, "VLAEC_MODELS": str(models)},
        check=True,
    )
    photo = str(TESTS / "golden" / "photo-q60-v2.png")
    return [
        (["compress", photo, "--model", "tiny"], "out.vlae"),
        (["decompress", str(TESTS / "golden" / "photo-q60-v2.vlae")], "out.png"),
        (["archive", "create", str(array), "--model", "tiny-binary"], "out.vlaa"),
        (["archive", "extract", str(archive)], "out"),
    ]


def main(arguments: Sequence[str]) -> None:
    """Kill, look, and print what was left how often."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--writes", type=int, default=500)
    parser.add_argument("--commands", type=int, default=60)
    parser.add_argument("--longest", type=float, default=6.0, help="seconds a command may live")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    pause = random.Random(options.seed)
    for force in (False, True):
        left: Counter[str] = Counter()
        for _ in range(options.writes // 2):
            with tempfile.TemporaryDirectory() as folder:
                left[kill_writer(Path(folder), force, pause)] += 1
        print(json.dumps({"writes": "over a file" if force else "new", **left}), flush=True)
    if not options.commands:
        return
    with tempfile.TemporaryDirectory() as name:
        models = Path(name)
        for folder in ("golden", "golden_sets"):
            shutil.copytree(TESTS / folder / "models", models, dirs_exist_ok=True)
        for call, output in commands(models):
            left = Counter()
            for _ in range(options.commands // 4):
                left[kill_command(models, call, output, pause.uniform(0.2, options.longest))] += 1
            print(json.dumps({"command": " ".join(call[: 1 + (call[0] == "archive")]), **left}))


if __name__ == "__main__":
    main(sys.argv[1:])

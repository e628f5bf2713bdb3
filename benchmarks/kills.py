"""Kill -9 at random moments: the output is the old file, the whole new one, or nothing.

    python -m benchmarks.kills --writes 200 --commands 250 --trainings 50 --into FILE

Writes are those of `vlaec.files`, in a process that does nothing else, so that most kills fall into
one. Commands are `compress` and `decompress` of one file and of several, `archive create` and
`archive extract`, with the small models of the tests; half of those with several processes lose the
first of them alone. Trainings save after every step, and each goes on where the one before was
killed. After each kill the folder is looked at: what is in it is whole, and nothing else is there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
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
    """What a writer that was killed has left: old, new or nothing; leftover, where a hidden file
    stays beside the one that was to be replaced. Raises AssertionError."""
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
    names = sorted(os.listdir(folder))
    for name in names:
        data = (folder / name).read_bytes()
        if zlib.crc32(data[4:]).to_bytes(4, "little") != data[:4]:
            raise AssertionError(f"{name} is not whole")
    hidden = [name for name in names if not name.startswith("out")]
    if len(hidden) > (1 if force else 0) or (force and names != [*hidden, "out"]):
        raise AssertionError(f"{names} instead of the file")
    if hidden:
        return "leftover"
    if not names:
        return "nothing"
    return "old" if (folder / names[0]).read_bytes() == old else "new"


_TRAINER = """
import sys
from pathlib import Path
from tests import training
folder = Path(sys.argv[1])
trainer = training.make_trainer(folder / "photos", folder / "run", 10**6)
trainer.save_seconds = 0
print(flush=True)
trainer.train(None, training.silent)
"""


def kill_training(folder: Path, pause: random.Random) -> str:
    """What a training that was killed has left: the step, or nothing. Raises AssertionError."""
    from vlaec.train import checkpoint, log

    run = folder / "run"
    before = checkpoint.read(run / "checkpoint.pt")["step"] if run.exists() else 0
    with subprocess.Popen([sys.executable, "-c", _TRAINER, folder], stdout=subprocess.PIPE) as own:
        assert own.stdout is not None
        own.stdout.readline()
        time.sleep(pause.uniform(0, 2))
        own.kill()
    left = set(os.listdir(run))
    if left - {"checkpoint.pt", "log.jsonl"}:
        raise AssertionError(f"training left {left}")
    if "log.jsonl" in left:
        log.read(run / "log.jsonl")
    if "checkpoint.pt" not in left:
        run.rmdir()
        return "nothing"
    step = checkpoint.read(run / "checkpoint.pt")["step"]
    if step < before:
        raise AssertionError(f"step {step} after {before}")
    return "new" if step > before else "old"


class Command:
    """A call of vlaec that is killed again and again."""

    def __init__(self, models: Path, arguments: list[str], output: str, alone: bool = True) -> None:
        """
        Args:
            models: folder of its models.
            arguments: those of the call, without the output.
            output: name of the file or folder.
            alone: whether it is one process.
        """
        self.arguments, self.output, self.alone = arguments, output, alone
        self._environment = {**os.environ, "VLAEC_MODELS": str(models)}
        self._longest = 60.0  # seconds of the last call that was not killed

    def run(self, pause: float, group: bool = True) -> str:
        """What it leaves when it is killed after a share of its time, with all that it started if
        `group`. Raises AssertionError."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "vlaec", *self.arguments, "-o", self.output],
                cwd=folder,
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                process.wait(pause * self._longest)
                self._longest = time.perf_counter() - start
            except subprocess.TimeoutExpired:
                if group:
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                process.wait()
                _wait_for_group(process.pid)
            return self._left(folder)

    def _left(self, folder: Path) -> str:
        left = os.listdir(folder)
        folders = [entry for entry in left if entry.startswith(".vlaec-")]
        known = {self.output, *(folders if "extract" in self.arguments else [])}
        if not known.issuperset(left):
            raise AssertionError(f"{self.arguments} left {left}")
        if self.output not in left:
            return "a hidden folder" if folders else "nothing"
        whole = _check_whole(folder / self.output)
        if self.alone:
            return "new"
        return "all" if whole == BATCH else "some" if whole else "nothing"


def _wait_for_group(group: int) -> None:
    """Wait until no process of a killed one's session is left. Raises AssertionError."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("processes outlive the first one")


def _check_whole(path: Path) -> int:
    """How many files there are. Raises unless each can be read to its end."""
    from vlaec import images
    from vlaec.photo import container
    from vlaec.sets import container as archive_container

    files = list(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        if file.suffix == ".vlae":
            container.unpack(file.read_bytes())
        elif file.suffix == ".vlaa":
            archive_container.unpack(file.read_bytes())
        else:
            images.read(file)
    return len(files)


BATCH = 8  # pictures


def commands(models: Path) -> list[Command]:
    """What is killed."""
    archive = TESTS / "golden_sets" / "tiny-binary-lossless-v2.vlaa"
    array, pictures, packed = models / "set.npz", models / "pictures", models / "packed"
    subprocess.run(
        [sys.executable, "-m", "vlaec", "archive", "extract", str(archive), "-o", str(array)],
        env={**os.environ, "VLAEC_MODELS": str(models)},
        check=True,
    )
    for folder in (pictures, packed):
        folder.mkdir()
    for number in range(BATCH):
        shutil.copy(TESTS / "golden" / "photo-q60-v2.png", pictures / f"{number}.png")
        shutil.copy(TESTS / "golden" / "photo-q60-v2.vlae", packed / f"{number}.vlae")
    photo = str(TESTS / "golden" / "photo-q60-v2.png")
    packed_photo = str(TESTS / "golden" / "photo-q60-v2.vlae")
    jobs = ["--jobs", "2"]
    return [
        Command(models, ["compress", photo, "--model", "tiny"], "out.vlae"),
        Command(models, ["decompress", packed_photo], "out.png"),
        Command(models, ["archive", "create", str(array), "--model", "tiny-binary"], "out.vlaa"),
        Command(models, ["archive", "extract", str(archive)], "out"),
        Command(models, ["compress", str(pictures), "--model", "tiny", *jobs], "out", False),
        Command(models, ["decompress", str(packed), *jobs], "out", False),
    ]


def main(arguments: Sequence[str]) -> None:
    """Kill, look, and print what was left how often."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--writes", type=int, default=200)
    parser.add_argument("--commands", type=int, default=250)
    parser.add_argument("--trainings", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--into", type=Path, help="counts by what was killed, kept up to date")
    options = parser.parse_args(arguments)
    pause = random.Random(options.seed)
    results: dict[str, Counter[str]] = {}

    def count(name: str, left: str) -> None:
        results.setdefault(name, Counter())[left] += 1
        if options.into:
            options.into.write_text(json.dumps(results, indent=1) + "\n")

    for force in (False, True):
        for _ in range(options.writes // 2):
            with tempfile.TemporaryDirectory() as folder:
                name = "writing over a file" if force else "writing a new file"
                count(name, kill_writer(Path(folder), force, pause))
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        for golden in ("golden", "golden_sets"):
            shutil.copytree(TESTS / golden / "models", models, dirs_exist_ok=True)
        for command in commands(models) if options.commands else []:
            words = command.arguments[: 1 + (command.arguments[0] == "archive")]
            name = " ".join(words) + (" of several" if not command.alone else "")
            command.run(1)  # for its time
            for number in range(options.commands // 6):
                count(name, command.run(pause.uniform(0.02, 1.05), number % 2 == 0))
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.trainings):
            if not (Path(folder) / "photos").exists():
                from tests import training

                (Path(folder) / "photos").mkdir()
                training.write_photos(Path(folder) / "photos")
            count("training", kill_training(Path(folder), pause))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])

"""`bin/train-gpu`: a photo model in minutes on a GPU that is lent: checked, trained to the second,
packed into files that can be sent.

a     stage A, from the photographs' principal components: structure, without texture
bc    stages B and C, from what `a` left: structure and texture, then the texture alone
stage writes photographs, reduced, as one archive to take along
unpack makes a run for `bin/train export` of the files that came back
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import time
from pathlib import Path

# Seconds that one more attempt must have left to be worth its start.
LEAST = 25
# After its time a worker gets so many seconds more to write what it has.
GRACE = 20
# What each further attempt does without: a fault that comes back is not met again.
ATTEMPTS: tuple[list[str], ...] = (
    [],
    ["--careful"],
    ["--careful", "--optimiser", "adam"],
)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    started = time.time()
    args = _parser().parse_args(arguments)
    try:
        if args.command in ("a", "bc"):
            return _train(args, started)
        if args.command == "stage":
            from .photo.stage import stage

            most = round(args.megabytes * 1e6)
            count = stage(args.data, args.to, args.first, args.then, most, args.fonts)
            print(f"{count} photographs in {args.to}, {args.to.stat().st_size} bytes")
        else:
            from .photo.parts import unpack_parts

            print(unpack_parts(args.folder, args.run))
    except (OSError, ValueError) as error:
        print(f"bin/train-gpu: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bin/train-gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("a", "stage A"), ("bc", "stages B and C")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--data", type=Path, required=True, help="photographs, or their .tar")
        command.add_argument("--weights", type=Path, help="folder of the LPIPS weights")
        command.add_argument("--seconds", type=float, required=True, help="for everything")
        command.add_argument("--out", type=Path, required=True, help="for what is sent back")
        command.add_argument("--run", type=Path, default=Path("runs/gpu"), help="folder of the run")
        command.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
        command.add_argument("--recipe", help="a preset or a recipe.json, in place of the stage's")
        command.add_argument("--batch", type=int, help="crops per step; default: as is fastest")
        command.add_argument("--crop", type=int, help="pixels of a crop's side")
        if name == "bc":
            command.add_argument("--init", type=Path, help="packed files of `a`; default: its run")
    staged = commands.add_parser("stage", help="write the photographs' archive")
    staged.add_argument("--data", type=Path, required=True)
    staged.add_argument("--to", type=Path, required=True, help="e.g. photos.tar")
    staged.add_argument("--megabytes", type=float, default=38)
    staged.add_argument("--first", nargs="*", default=[], help="subfolders that are taken whole")
    staged.add_argument("--then", nargs="*", default=[], help="subfolders for what is left")
    staged.add_argument("--fonts", type=Path, help="folder of typefaces for drawn pages")
    unpacked = commands.add_parser("unpack", help="make a run of packed files")
    unpacked.add_argument("folder", type=Path)
    unpacked.add_argument("--run", type=Path, required=True)
    return parser


def _train(args: argparse.Namespace, started: float) -> int:
    """Attempts in processes of their own: a fault of the GPU's leaves a process useless."""
    deadline = started + args.seconds
    args.run.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    data = _unpacked(args.data, args.run)
    given = ["--data", str(data), "--run", str(args.run), "--out", str(args.out)]
    given += ["--device", args.device, "--deadline", str(deadline)]
    for name in ("weights", "recipe", "batch", "crop", "init"):
        if getattr(args, name, None) is not None:
            given += [f"--{name}", str(getattr(args, name))]
    command = [sys.executable, "-u", "-m", "vlaec.train.photo.session", args.command, *given]
    for attempt, changes in enumerate(ATTEMPTS):
        if attempt and deadline - time.time() < LEAST:
            break
        again = ["--again"] if attempt else []
        worker = subprocess.Popen([*command, *changes, *again])
        try:
            code = worker.wait(deadline + GRACE - time.time())
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            print("the worker did not end in time and was stopped", flush=True)
            return 1
        if code == 0:
            return 0
        print(f"attempt {attempt + 1} ended with code {code}", flush=True)
    return 1


def _unpacked(data: Path, run: Path) -> Path:
    """The folder of the photographs: of an archive, what is in it."""
    if data.is_dir():
        return data
    folder = run / "photos"
    if not folder.exists():
        partial = run / "photos.partial"
        with tarfile.open(data) as tar:
            tar.extractall(partial, filter="data")
        partial.rename(folder)
    return folder


if __name__ == "__main__":
    sys.exit(main())

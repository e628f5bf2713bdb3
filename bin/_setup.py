"""Create or repair the checkout's `.venv`: `_setup.py STAMP LEVEL`, called by `_setup.sh`.

Level "run" is what compresses and decompresses; "dev" adds PyTorch and all that tests need.

Standard library only, since it runs before anything is installed. The stamp is written last, so an
interrupted call is seen and repaired by the next one. A lock on the repository folder, which the
kernel drops when its holder dies, keeps two first calls apart. Everything is said on stderr.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "vlaec-stamp"
UNFINISHED = VENV / "vlaec-unfinished"


def say(text: str) -> None:
    print("vlaec: " + text, file=sys.stderr, flush=True)


def call(python: str, lock: int, *arguments: str) -> None:
    """Run `python -m ARGUMENTS`, which holds the lock, too, should it outlive this process.

    Raises CalledProcessError.
    """
    command = [python, "-m", *arguments]
    subprocess.run(command, cwd=str(ROOT), check=True, stdout=sys.stderr, pass_fds=(lock,))


def install(lock: int, *arguments: str) -> None:
    """Run the venv's pip, quiet unless somebody is watching. Raises CalledProcessError."""
    options = ["--disable-pip-version-check", *([] if sys.stderr.isatty() else ["--quiet"])]
    call(str(VENV / "bin" / "python"), lock, "pip", "install", *options, *arguments)


def build(stamp: str, level: str, lock: int) -> None:
    """Install the locked packages and vlaec itself, then write the stamp.

    The mark says that pip may have been cut off, which leaves half-copied packages that look whole.
    Only a venv whose very first set-up was cut off is deleted; one that stood before may hold what
    others installed and use, so there the locked packages alone are installed once more.
    """
    interrupted = UNFINISHED.read_text() if UNFINISHED.exists() else ""
    if interrupted == "new":
        shutil.rmtree(str(VENV))
    state = "update" if VENV.exists() else "new"
    VENV.mkdir(exist_ok=True)
    STAMP.unlink(missing_ok=True)
    UNFINISHED.write_text(state)
    try:
        if not (VENV / "bin" / "python").exists():
            call(sys.executable, lock, "venv", str(VENV))
        again = ["--force-reinstall"] if interrupted == "update" else []
        locks = ["-r", "requirements.lock", *(["-r", "requirements-dev.lock"] * (level == "dev"))]
        install(lock, *locks, *again)
        install(lock, "--no-deps", "--no-build-isolation", "-e", ".", "-e", "models/sets")
    except subprocess.CalledProcessError as error:
        if error.returncode > 0:  # pip gave up in good order: nothing is half done
            UNFINISHED.unlink()
        raise
    UNFINISHED.unlink()
    STAMP.write_text(f"{level} {stamp}\n")


def main() -> int:
    if sys.version_info < (3, 11):  # an older python3 may well be what calls this
        say(
            f"needs Python 3.11 or newer, not {sys.version.split()[0]}; set PYTHON=/path/to/python3"
        )
        return 1
    stamp, level = sys.argv[1:]
    lock = os.open(str(ROOT), os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found, _, found_stamp = (STAMP.read_text() if STAMP.exists() else "").partition(" ")
        if found_stamp.strip() == stamp and found in ("dev", level):
            return 0  # another call has done it while this one waited
        if found == "dev":
            level = found  # what has been asked for once stays
        much = " with PyTorch, which takes minutes the first time" if level == "dev" else ""
        say(f"setting up .venv{much}")
        build(stamp, level, lock)
    except subprocess.CalledProcessError as error:
        say(f"set-up failed (exit code {error.returncode}); the next call starts it again")
        return 1
    except OSError as error:
        say(f"set-up failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("set-up interrupted; the next call starts it again")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

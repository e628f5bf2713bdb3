"""Reading inputs and writing outputs: whole or not at all, and never over a file unasked."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import OutputError, UsageError

# A folder that was made this long ago and that nobody has locked since is nobody's.
ABANDONED_S = 60


def read_bytes(path: str) -> bytes:
    """The whole file, or standard input for `-`. Raises UsageError if it cannot be read."""
    if path == "-":
        if _is_closed(sys.stdin):
            raise UsageError("cannot read standard input: it is closed")
        try:
            return sys.stdin.buffer.read()
        except OSError as error:
            raise UsageError(f"cannot read standard input: {error.strerror}") from error
    if not path:
        raise UsageError("the name of a file is empty")
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from error


def check_output(path: str, force: bool, source: str = "-") -> None:
    """Raise OutputError at once for what `write_atomically` would refuse after minutes of work.

    Also refuses `source`, the input, as the output: with `force`, it would destroy the original.
    """
    if path == "-":
        if _is_closed(sys.stdout):
            raise OutputError("cannot write standard output: it is closed")
        return
    if not path:
        raise OutputError("the name of the output is empty")
    folder = Path(path).parent
    if not folder.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise OutputError(f"cannot write {path}: it is a folder")
    if source != "-" and os.path.exists(path) and os.path.samefile(path, source):
        raise OutputError(f"{path} is the input; choose another output with -o")
    if os.path.lexists(path) and not _is_device(path):
        if not force:
            raise _exists(path)
    elif not _is_device(path) and not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {path}: no permission to write in {folder}")


def write_atomically(path: str, data: bytes, force: bool = False) -> None:
    """Write a whole file through a temporary one in its folder, or to standard output for `-`.

    Whoever looks sees the old state or the complete file. An existing file stays unless `force`,
    also if it appears at the last moment. Devices and pipes are written to directly. Raises
    OutputError; no temporary file is left behind by it, nor by an interrupt.
    """
    if path == "-":
        if _is_closed(sys.stdout):
            raise OutputError("cannot write standard output: it is closed")
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write standard output: {error.strerror}") from error
        return
    try:
        if _is_device(path):
            Path(path).write_bytes(data)
            return
        target = Path(os.path.realpath(path))  # through a symbolic link, not over it
        if _write_nameless(target, data, force):
            return
        temporary = target.with_name(f".vlaec-{secrets.token_hex(8)}.tmp")
        try:
            _write_synced(temporary, data)
            if not force:
                _publish_new(temporary, target)
            else:
                if target.exists():
                    shutil.copymode(target, temporary)
                os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def check_folder(path: str, force: bool) -> None:
    """Raise OutputError at once for what `write_folder` would refuse after minutes of work."""
    if os.path.isdir(path):
        if not force:
            raise _exists(path)
    else:
        check_output(path, force=False)


def write_folder(path: str, contents: Iterable[tuple[str, bytes]], force: bool = False) -> None:
    """Write files, by name, into a new folder, whole or not at all.

    With `force` they may go into a folder that exists, over files of the same names. Raises
    OutputError; no temporary folder is left behind by it, nor by an interrupt. What a process that
    was killed has left goes.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".vlaec-{secrets.token_hex(8)}.tmp")
    try:
        _sweep(target.parent)
        temporary.mkdir()
        with _locked(temporary), contextlib.ExitStack() as clean:
            clean.callback(shutil.rmtree, temporary, ignore_errors=True)
            for name, data in contents:
                (temporary / name).write_bytes(data)
            if force and target.is_dir():
                for file in temporary.iterdir():
                    os.replace(file, target / file.name)
            else:
                os.rename(temporary, target)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def _sweep(parent: Path) -> None:
    """Take away temporary folders whose processes are gone."""
    for left in parent.glob(".vlaec-*.tmp"):
        with contextlib.suppress(OSError):  # one that is just being renamed, or somebody else's
            if left.is_dir() and time.time() - left.stat().st_mtime > ABANDONED_S:
                with _locked(left) as gone:
                    if gone:
                        shutil.rmtree(left)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder, which the end of a process releases; False where that is not
    possible: another holds it, or the system has none."""
    try:
        import fcntl
    except ImportError:
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _is_closed(stream: object) -> bool:
    """True for a standard stream that the caller has closed; see `cli.streams`."""
    return stream is None or getattr(stream, "closed_by_caller", False)


def _write_nameless(target: Path, data: bytes, force: bool) -> bool:
    """Write a file that has no name until it is whole, where the system has such files (Linux).

    A process that is killed leaves nothing behind, unless between the two calls that replace a
    file: then the new one stays beside it, whole, under a hidden name. Returns whether it was
    possible.
    """
    if not hasattr(os, "O_TMPFILE"):
        return False
    try:
        descriptor = os.open(target.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:
        return False
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(descriptor)
        source = f"/proc/self/fd/{descriptor}"
        try:
            return _link(source, target)
        except FileExistsError:  # maybe since a moment ago
            if not force:
                raise
        shutil.copymode(target, source)
        temporary = target.with_name(f".vlaec-{secrets.token_hex(8)}.tmp")
        if not _link(source, temporary):
            return False
        try:
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    return True


def _link(source: str, target: Path) -> bool:
    """Give an open file a name; whether the system can. Raises FileExistsError."""
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.link(source, target.name, dst_dir_fd=folder)  # with a folder, links are followed
    except FileExistsError:
        raise
    except OSError:
        return False
    finally:
        os.close(folder)
    return True


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _publish_new(temporary: Path, target: Path) -> None:
    """Give the file its name unless that is taken: FileExistsError, and without a race."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        target.touch(exist_ok=False)  # no hard links here (FAT, some shares): claim the name first
        os.replace(temporary, target)


def _is_device(path: str) -> bool:
    """True for what exists and is neither a file nor a folder, such as /dev/null or a pipe."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _exists(path: str) -> OutputError:
    """Only for a file of vlaec's own is there a word of how to replace it: what else stands there
    may be the photograph itself."""
    ours = path.endswith((".vlae", ".vlaa"))
    return OutputError(
        f"{path} exists; choose another name with -o{', or replace it with --force' * ours}"
    )

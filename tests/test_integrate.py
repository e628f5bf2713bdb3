"""What other programs are told: manual page, completion, thumbnailer, magic, other systems."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vlaec
from vlaec.cli.integrate import MAGIC, PLACES, read_shipped
from vlaec.cli.main import cli

ROOT = Path(__file__).resolve().parent.parent


def walk(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from walk(command, inner)
        else:
            yield inner.command_path, command


COMMANDS = dict(walk(cli, click.Context(cli, info_name="vlaec")))


def words(text: str) -> str:
    return " ".join(text.replace("\\e", "\\").replace("\\-", "-").split())


def test_the_manual_page_is_that_of_the_commands() -> None:
    """Remade by `python -m vlaec.cli.man > vlaec/desktop/vlaec.1`."""
    page = read_shipped("vlaec.1").decode()
    sections = re.split(r"^\.SS ", page, flags=re.M)[1:]
    assert len(sections) == len(COMMANDS)
    for (path, command), section in zip(COMMANDS.items(), sections, strict=True):
        shown = words(section)
        assert shown.startswith(path)
        assert words((command.help or "").split("\n\n")[0]) in shown
        for option in command.params:
            if isinstance(option, click.Option):
                assert all(name in shown for name in option.opts), (path, option.opts)
                assert words(option.help or "") in shown, (path, option.opts)


@pytest.mark.skipif(not shutil.which("man"), reason="no man")
def test_the_manual_page_is_sound() -> None:
    page = ROOT / "vlaec" / "desktop" / "vlaec.1"
    command = ["man", "--warnings", "-E", "UTF-8", "-l", str(page)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and "vlaec compress" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    script = CliRunner().invoke(cli, ["completion", shell]).stdout
    assert "_VLAEC_COMPLETE" in script and "vlaec" in script
    if shell == "bash":
        syntax = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert syntax.returncode == 0, syntax.stderr


def test_completion_of_options() -> None:
    environment = {**os.environ, "_VLAEC_COMPLETE": "bash_complete"}
    environment |= {"COMP_WORDS": "vlaec compress --qu", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "vlaec"], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["plain,--quality", "plain,--quiet"]


def test_files_for_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert CliRunner().invoke(cli, ["integrate", "--user"]).exit_code == 0
    for place, name in PLACES.items():
        assert (tmp_path / "share" / place / name).read_bytes() == read_shipped(name)
    assert (tmp_path / ".magic").read_bytes() == read_shipped(MAGIC)
    (tmp_path / ".magic").write_text("mine")
    again = CliRunner().invoke(cli, ["integrate", "--user"])
    assert again.exit_code == 2 and "exists" in again.stderr
    assert CliRunner().invoke(cli, ["integrate", "--user", "--force"]).exit_code == 0
    shown = CliRunner().invoke(cli, ["integrate"]).stdout
    assert read_shipped(MAGIC).decode() in shown and "[Thumbnailer Entry]" in shown


def test_the_mime_types_are_those_of_the_files(tiny_models: Path) -> None:
    root = ElementTree.fromstring(read_shipped("vlaec.xml"))
    space = "{http://www.freedesktop.org/standards/shared-mime-info}"
    types = {kind.get("type"): kind for kind in root.iter(f"{space}mime-type")}
    from vlaec import pillow_plugin
    from vlaec.photo import container
    from vlaec.sets import container as archive_container

    for mime, magic, suffix in (
        (pillow_plugin.MIME, container.MAGIC, pillow_plugin.EXTENSION),
        ("application/x-vlaa", archive_container.MAGIC, ".vlaa"),
    ):
        match, glob = (next(types[mime].iter(space + tag)) for tag in ("match", "glob"))
        assert match.get("value") == magic.decode() and glob.get("pattern") == f"*{suffix}"


@pytest.fixture
def compressed(tiny_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    pixels = np.random.default_rng(0).integers(0, 256, (37, 300, 3), np.uint8)
    (tmp_path / "a.vlae").write_bytes(vlaec.compress(pixels))
    return tmp_path / "a.vlae"


@pytest.mark.skipif(not shutil.which("file"), reason="no file(1)")
def test_magic(compressed: Path, tmp_path: Path) -> None:
    (tmp_path / "magic").write_bytes(read_shipped(MAGIC))
    command = ["file", "-b", "-m", str(tmp_path / "magic"), str(compressed)]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    version = vlaec.info(compressed).version
    assert said == f"VLAE image data, version {version}, 300 x 37\n"
    said = subprocess.run([*command, "--mime-type"], capture_output=True, text=True).stdout
    assert said == "image/x-vlae\n"


def test_the_thumbnailer_makes_what_it_promises(compressed: Path, tmp_path: Path) -> None:
    text = read_shipped("vlaec.thumbnailer").decode()
    line = next(line for line in text.splitlines() if line.startswith("Exec=vlaec "))
    values = {"%i": str(compressed), "%o": str(tmp_path / "out.tmp"), "%s": "128"}
    (tmp_path / "out.tmp").touch()  # as file managers do
    call = [values.get(word, word) for word in line.removeprefix("Exec=vlaec ").split()]
    result = CliRunner().invoke(cli, call)
    assert (result.exit_code, result.output) == (0, "")
    with Image.open(tmp_path / "out.tmp") as image:
        assert (image.format, image.size) == ("PNG", (128, 16))


def test_modules_do_not_need_what_other_systems_lack() -> None:
    script = """
import builtins, importlib, pkgutil
missing = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "posix"}
real = builtins.__import__
def guarded(name, globals=None, *rest):
    asking = (globals or {}).get("__name__") or ""
    if name.split(".")[0] in missing and asking.split(".")[0] == "vlaec":
        raise ImportError(f"{asking} asks for {name}")
    return real(name, globals, *rest)
builtins.__import__ = guarded
import vlaec
for module in pkgutil.walk_packages(vlaec.__path__, "vlaec."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_paths_of_one_system() -> None:
    """/proc and /sys are read where they are; /dev would be written to."""
    for path in sorted((ROOT / "vlaec").rglob("*.py")):
        assert not re.search(r"[\"'](/dev|/tmp|/etc)\b", path.read_text()), path

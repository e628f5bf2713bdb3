"""The documentation holds: commands run in order, links lead somewhere, numbers are measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import gallery
from benchmarks.readme import main as check_numbers

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
# Pages that a new user reads one after the other.
FIRST = (ROOT / "README.md", ROOT / "docs" / "tutorial.md")
# The decoder is a program with arguments, which has a test of its own.
OTHERS = ("CONTRIBUTING.md", "decoder.md", *(page.name for page in FIRST))
RUN = [page for page in PAGES if BLOCK.search(page.read_text()) and page.name not in OTHERS]


def commands(page: Path) -> list[list[str]]:
    """The blocks of a page as commands. What fetches the program itself is left out."""
    blocks = []
    for language, text in BLOCK.findall(page.read_text()):
        lines = [line for line in text.splitlines() if not line.startswith(("git clone", "pip "))]
        code = "\n".join(lines)
        blocks.append(
            ["sh", "-eu", "-c", code] if language == "sh" else [sys.executable, "-c", code]
        )
    return blocks


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder as a reader has it: a photograph, examples, and `vlaec` both ways."""
    with Image.open(ROOT / "examples" / "photo.png") as image:
        part = image.crop((100, 100, 228, 196))
    (tmp_path / "examples").mkdir()
    part.save(tmp_path / "photo.png")
    part.save(tmp_path / "examples" / "photo.png")
    (tmp_path / "bin").mkdir()
    launcher = tmp_path / "bin" / "vlaec"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vlaec "$@"\n')
    launcher.chmod(0o755)
    return tmp_path


@pytest.mark.skipif(os.name != "posix", reason="the blocks are for a POSIX shell")
def test_a_new_user_pastes_the_front_page_and_then_the_tutorial(desk: Path) -> None:
    """In one folder and one shell, with the whole photograph; nothing but `bin/vlaec` is there."""
    shutil.copy(ROOT / "examples" / "photo.png", desk / "examples" / "photo.png")
    (desk / "photo.png").unlink()
    script = ""
    for page in FIRST:
        for command in commands(page):
            code = command[-1].rstrip()
            script += f"{code}\n" if command[0] == "sh" else f"python - <<'END'\n{code}\nEND\n"
    python = desk / "python" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    run = ["sh", "-eux", "-c", script]
    done = subprocess.run(run, cwd=desk, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (desk / "limit.vlae").stat().st_size <= 3000


@pytest.mark.skipif(os.name != "posix", reason="the blocks are for a POSIX shell")
@pytest.mark.parametrize("page", RUN, ids=lambda p: p.name)
def test_commands_run_as_they_stand(page: Path, desk: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{desk / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    assert shutil.which("sh")
    for command in commands(page):
        done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = [t for t in LINK.findall(page.read_text()) if not t.startswith(("http", "mailto:"))]
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_measured_numbers_are_those_of_the_results() -> None:
    assert check_numbers(["--check"]) == 0


def test_the_gallery_is_that_of_its_template() -> None:
    captions = json.loads((ROOT / "docs" / "gallery" / "captions.json").read_text())
    text = (ROOT / "docs" / "gallery.md").read_text()
    assert text == gallery.page(captions)
    pictures = set(re.findall(r'"(gallery/[^"]+[.]webp)"', text))
    assert len(pictures) == 4 * len(gallery.items()) + 1  # and the samples
    assert all((ROOT / "docs" / picture).is_file() for picture in pictures)


def test_a_row_of_the_gallery_is_made(
    desk: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "gallery").mkdir()
    monkeypatch.setattr(gallery, "DOCS", desk)
    monkeypatch.chdir(desk)
    with Image.open(photo) as image:
        image.crop((100, 100, 196, 164)).save(desk / "part.png")
    item = gallery.Item("part.png", 16, 8, 0.5, "A part", "nobody", "nothing")
    captions = gallery.make(item, desk, (64, 48))
    assert tuple(captions) == gallery.KINDS and "AVIF" in captions["avif"]
    for kind in gallery.KINDS:
        with Image.open(desk / "gallery" / f"part-{kind}.webp") as made:
            assert made.size == (64, 48)


def test_the_front_page_is_short_and_warns_first() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 900
    assert text.index("What it invents") < text.index("## ")


def test_the_notebook_runs(desk: Path) -> None:
    notebook = json.loads((ROOT / "examples" / "tour.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code = "\n".join("".join(cell["source"]) for cell in cells)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=desk, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "grey levels" in done.stdout and done.stdout.count(" dB") == 4
    made = [output for cell in cells for output in cell["outputs"]]  # by benchmarks.notebook
    assert sum("image/jpeg" in output.get("data", {}) for output in made) == 3

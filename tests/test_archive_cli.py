"""`vlaec archive`: folders and arrays in and out, reports, and one line for every bad input."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from golden_sets.make import make_images
from PIL import Image

from vlaec.cli.main import cli
from vlaec.networks import SET_PRESETS
from vlaec.sets import archive, container

Run = Callable[..., Result]
BINARY = make_images(SET_PRESETS["tiny-binary"], 3)
COLOUR = make_images(SET_PRESETS["tiny-colour"], 3)
NPZ = ("archive", "create", "set.npz", "--model", "tiny-binary")


@cache
def archived(lossy: bool) -> bytes:
    return archive.create(BINARY, "tiny-binary", lossy)


@pytest.fixture
def run(set_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call the program in a folder with set.npz, folder/ and set.vlaa."""
    monkeypatch.chdir(tmp_path)
    np.savez("set.npz", images=BINARY)
    os.mkdir("folder")
    for name, pixels in zip(("b.png", "a.webp", "ü c.tif"), BINARY, strict=True):
        Image.fromarray(pixels).save(f"folder/{name}", lossless=True)
    Path("set.vlaa").write_bytes(archived(lossy=False))
    Path("lossy.vlaa").write_bytes(archived(lossy=True))

    def call(*arguments: str, **options: object) -> Result:
        return CliRunner().invoke(cli, [str(a) for a in arguments], prog_name="vlaec", **options)

    return call


def load(path: str | io.BytesIO) -> np.ndarray:
    with np.load(path) as file:
        images: np.ndarray = file["images"]
        return images


def assert_fails(result: Result, code: int, message: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("vlaec: ") and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert result.stdout == "" or json.loads(result.stdout)["exit_code"] == code


def test_arrays_come_back(run: Run) -> None:
    result = run(*NPZ, "--force")
    assert result.exit_code == 0 and result.stdout == ""
    assert result.stderr == ""
    result = run(*NPZ, "--force", "--verbose")
    assert "set.npz -> set.vlaa: 3 images, " in result.stderr
    assert "initial bits" in result.stderr and result.stderr.count("\n") == 1
    os.unlink("set.npz")
    result = run("archive", "extract", "set.vlaa")
    assert (result.exit_code, result.output) == (0, "")
    assert np.array_equal(load("set.npz"), BINARY)


def test_folders_come_back_with_their_names(run: Run) -> None:
    result = run("archive", "create", "folder/", "--model", "tiny-binary")
    assert result.exit_code == 0, result.output
    os.rename("folder", "before")
    assert run("archive", "extract", "folder.vlaa").exit_code == 0
    assert sorted(os.listdir("folder")) == sorted(os.listdir("before"))
    for name in os.listdir("before"):
        with Image.open(f"before/{name}") as a, Image.open(f"folder/{name}") as b:
            assert a.format == b.format
            assert np.array_equal(np.asarray(a.convert("RGB")), np.asarray(b.convert("RGB")))
    assert run("archive", "extract", "folder.vlaa", "-o", "flat.npz").exit_code == 0
    order = [sorted(os.listdir("before")).index(name) for name in ("b.png", "a.webp", "ü c.tif")]
    assert np.array_equal(load("flat.npz")[order], BINARY)


def test_colour_folders_and_numbered_pictures(run: Run) -> None:
    np.savez("colour.npz", images=COLOUR)
    assert run("archive", "create", "colour.npz", "--model", "tiny-colour").exit_code == 0
    assert run("archive", "extract", "colour.vlaa", "-o", "pictures").exit_code == 0
    assert sorted(os.listdir("pictures")) == ["0.png", "1.png", "2.png"]
    assert run("archive", "create", "pictures", "--model", "tiny-colour").exit_code == 0
    assert run("archive", "extract", "pictures.vlaa", "-o", "again.npz").exit_code == 0
    assert np.array_equal(load("again.npz"), COLOUR)


def test_an_existing_folder_is_kept_unless_forced(run: Run) -> None:
    Path("folder/mine.txt").write_text("mine")
    command = ("archive", "extract", "set.vlaa", "-o", "folder")
    assert_fails(run(*command), 2, "exists")
    assert run(*command, "--force").exit_code == 0
    assert Path("folder/mine.txt").read_text() == "mine"
    assert {"0.png", "1.png", "2.png", "b.png"} <= set(os.listdir("folder"))
    assert not [name for name in os.listdir() if name.startswith(".vlaec")]


def test_streams(run: Run) -> None:
    arrays = Path("set.npz").read_bytes()
    packed = run("archive", "create", "-", "--model", "tiny-binary", input=arrays)
    assert packed.exit_code == 0
    unpacked = run("archive", "extract", "-", input=packed.stdout_bytes)
    assert np.array_equal(load(io.BytesIO(unpacked.stdout_bytes)), BINARY)


def test_lossy_and_seeds(run: Run) -> None:
    result = run(*NPZ, "--lossy", "--seed", "3", "-o", "l.vlaa", "--json")
    facts = json.loads(result.stdout)
    assert facts["lossy"] and facts["seed"] == 3 and facts["initial_bits"] == 0
    for name, options in (("a", ()), ("b", ("--seed", "3")), ("c", ("--seed", "4"))):
        assert run("archive", "extract", "l.vlaa", "-o", f"{name}.npz", *options).exit_code == 0
    assert np.array_equal(load("a.npz"), load("b.npz"))
    assert not np.array_equal(load("a.npz"), load("c.npz"))


def test_json_and_info(run: Run) -> None:
    made = json.loads(run(*NPZ, "--force", "--json").stdout)
    assert made["bytes"] == os.path.getsize("set.vlaa") and made["images"] == 3
    assert (made["model"], made["output"], made["lossy"]) == ("tiny-binary", "set.vlaa", False)
    dims = BINARY.size
    assert made["bits_per_dim"] == pytest.approx(8 * made["bytes"] / dims, abs=1e-5)
    net = (8 * made["bytes"] - made["initial_bits"]) / dims
    assert made["bits_per_dim_without_initial"] == pytest.approx(net, abs=1e-5)
    told = json.loads(run("info", "set.vlaa", "--json").stdout)
    assert told["format_version"] == container.VERSION
    assert {key: told[key] for key in made if key in told} == {
        key: value for key, value in made.items() if key in told
    }
    shown = run("info", "set.vlaa").stdout
    for text in ("3 of 12 x 8, black and white, lossless", "tiny-binary (", "bits/dim", "initial"):
        assert text in shown
    assert "lossy" in run("info", "lossy.vlaa").stdout


@pytest.mark.parametrize("arguments", [("--help",), ("archive", "--help"), ("info", "set.vlaa")])
def test_starts_without_torch(run: Run, arguments: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom vlaec.cli.main import cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'torch' not in sys.modules and 'constriction' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("archive", "create", "set.npz"), 2, "--model"),
        (NPZ, 2, "exists"),
        ((*NPZ, "-o", "set.npz", "--force"), 2, "is the input"),
        ((*NPZ, "-o", "none/set.vlaa"), 2, "no folder"),
        ((*NPZ, "-o", "-", "--json"), 2, "standard output"),
        ((*NPZ, "--seed", "1", "--force"), 2, "--lossy"),
        (("archive", "create", "set.npz", "--model", "none", "-o", "x"), 5, "no model named"),
        (("archive", "create", "set.npz", "--model", "photo", "-o", "x"), 2, "photographs"),
        (("archive", "create", "set.npz", "--model", "tiny-colour", "-o", "x"), 3, "takes uint8"),
        (("archive", "create", "missing", "--model", "tiny-binary", "-o", "x"), 2, "cannot read"),
        (("archive", "create", "set.vlaa", "--model", "tiny-binary", "-o", "x"), 3, ".npz file"),
        (("archive", "extract", "set.npz", "-o", "x"), 4, "not a .vlaa file"),
        (("archive", "extract", "set.vlaa", "-o", "set.npz"), 2, "exists"),
        (("archive", "extract", "set.vlaa", "-o", "set.vlaa"), 2, "exists"),
        (("archive", "extract", "set.vlaa", "-o", "x", "--seed", "1"), 2, "lossless"),
        (("archive", "extract", "set.vlaa", "-o", "-", "--json"), 2, "standard output"),
        (("compress", "folder/b.png", "--model", "tiny-binary", "-o", "x"), 2, "vlaec archive"),
        (("decompress", "set.vlaa", "-o", "x.png"), 4, "not a .vlae file"),
    ],
)
def test_bad_calls(run: Run, arguments: tuple[str, ...], code: int, message: str) -> None:
    before = sorted(os.listdir())
    assert_fails(run(*arguments), code, message)
    assert sorted(os.listdir()) == before


def save(path: str, pixels: np.ndarray, **options: object) -> None:
    Image.fromarray(pixels).save(path, **options)


BAD_FOLDERS: list[tuple[Callable[[], object], int, str]] = [
    (lambda: [os.unlink(f"folder/{n}") for n in os.listdir("folder")], 2, "no pictures"),
    (lambda: save("folder/z.png", BINARY[0][1:]), 3, "12 x 7"),
    (lambda: [save(f"folder/{n}", BINARY[0][1:]) for n in os.listdir("folder")], 3, "takes uint8"),
    (lambda: save("folder/z.png", BINARY[0] // 2), 3, "0 and 255"),
    (lambda: save("folder/z.jpg", BINARY[0]), 3, "restored"),
    (lambda: save("folder/z.png", np.dstack([BINARY[0]] * 3 + [BINARY[0]])), 3, "transparency"),
    (lambda: save("folder/z.png", BINARY[0].astype(np.uint16) * 257), 3, "16 bits"),
    (lambda: save("folder/z.png", np.dstack([BINARY[0], BINARY[0], BINARY[1]])), 3, "colours"),
    (lambda: Path("folder/z.png").write_bytes(b"no picture"), 3, "not a picture"),
    (lambda: os.mkdir("folder/z.png"), 2, "cannot read"),
    (lambda: save("folder/B.png", BINARY[0]), 2, "every system"),
    (lambda: save("folder/a:b.png", BINARY[0]), 2, "every system"),
]


@pytest.mark.parametrize(("spoil", "code", "message"), BAD_FOLDERS, ids=lambda v: str(v)[:20])
def test_bad_folders(run: Run, spoil: Callable[[], object], code: int, message: str) -> None:
    spoil()
    result = run("archive", "create", "folder", "--model", "tiny-binary")
    assert_fails(result, code, message)
    assert not os.path.exists("folder.vlaa")


def test_hidden_files_are_no_pictures(run: Run) -> None:
    Path("folder/.DS_Store").write_bytes(b"anything")
    assert run("archive", "create", "folder", "--model", "tiny-binary").exit_code == 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": BINARY}, "no array named"),
        ({"images": BINARY.astype(float)}, "float64"),
        ({"images": BINARY[0]}, "[8, 12]"),
        ({"images": np.array([{}])}, "not a readable"),
    ],
    ids=str,
)
def test_bad_arrays(run: Run, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez("bad.npz", **arrays)
    command = ("archive", "create", "bad.npz", "--model", "tiny-binary")
    assert_fails(run(*command), 3, message)


def test_damaged_archives(run: Run) -> None:
    data = bytearray(Path("set.vlaa").read_bytes())
    data[60] ^= 1
    Path("bad.vlaa").write_bytes(data)
    for command in (("archive", "extract"), ("info",)):
        assert_fails(run(*command, "bad.vlaa"), 4, "damaged")
    assert not os.path.exists("bad.npz")


def test_archives_need_no_torch(run: Run, tmp_path: Path) -> None:
    lines = """
import sys
sys.modules["torch"] = None  # so that importing it is an error
from vlaec.cli.main import cli
for line in sys.stdin:
    try:
        cli(line.split())
    except SystemExit as end:
        assert not end.code
"""
    model = "--force --model tiny-binary"
    calls = [
        f"archive create set.npz {model}",
        f"archive create set.npz --lossy -o z.vlaa {model}",
        "archive extract z.vlaa -o z.npz",
    ]
    subprocess.run(
        [sys.executable, "-c", lines],
        input="\n".join(calls),
        cwd=tmp_path,
        check=True,
        text=True,
    )
    assert Path("set.vlaa").read_bytes() == archived(lossy=False)
    assert load("z.npz").shape == BINARY.shape

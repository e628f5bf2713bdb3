"""The command line, through click's runner and as a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import vlaec
from vlaec.cli.main import cli
from vlaec.photo import codec, container

Run = Callable[..., Result]


@pytest.fixture
def run(tiny_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call the program in an empty folder, with the tiny model as its default."""
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, **options: object) -> Result:
        result = CliRunner().invoke(cli, [str(a) for a in arguments], prog_name="vlaec", **options)
        assert "Traceback" not in result.output
        return result

    return call


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def compressed(run: Run, picture: Path) -> Path:
    assert run("compress", picture).exit_code == 0
    return picture.with_suffix(".vlae")


def process(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vlaec", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, **options)


def opened(path: str) -> tuple[str, tuple[int, int]]:
    """Mode and size of a picture."""
    with Image.open(path) as image:
        return image.mode, image.size


def assert_fails(result: Result, code: int, message: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("vlaec: ") and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert result.stdout == "" or json.loads(result.stdout)["exit_code"] == code


def test_round_trip_with_default_names(run: Run, picture: Path, tmp_path: Path) -> None:
    result = run("compress", picture)
    assert (result.exit_code, result.output) == (0, "")
    result = run("decompress", tmp_path / "photo.vlae")
    assert (result.exit_code, result.output) == (0, "")
    with Image.open("photo.vlae.png") as image:
        assert (image.size, image.mode, image.format) == ((53, 37), "RGB", "PNG")
    assert sorted(os.listdir(tmp_path)) == ["photo.png", "photo.vlae", "photo.vlae.png"]


def test_json_of_compress_and_decompress(run: Run, picture: Path) -> None:
    facts = json.loads(run("compress", picture, "-o", "a.vlae", "-q", "12.34", "--json").stdout)
    assert facts["bytes"] == os.path.getsize("a.vlae")
    assert facts["bpp"] == pytest.approx(8 * facts["bytes"] / (53 * 37), abs=1e-4)
    assert (facts["width"], facts["height"]) == (53, 37)
    assert (facts["model"], facts["quality"], facts["output"]) == ("tiny", 12.34, "a.vlae")
    assert facts["seconds"] >= 0

    arguments = ("decompress", "a.vlae", "-o", "a.png", "--texture", "0", "--seed", "9", "--json")
    again = json.loads(run(*arguments).stdout)
    shared = ("bytes", "bpp", "width", "height", "model", "model_id", "quality")
    assert {key: again[key] for key in shared} == {key: facts[key] for key in shared}
    assert (again["texture"], again["seed"]) == (0, 9)


def test_a_size_instead_of_a_quality(run: Run, compressed: Path) -> None:
    size = compressed.stat().st_size
    result = run("compress", "photo.png", "-o", "s.vlae", "--size", str(size))
    assert result.exit_code == 0 and "chose quality" in result.stderr
    assert os.path.getsize("s.vlae") <= size
    assert_fails(run("compress", "photo.png", "-o", "t.vlae", "--size", "9"), 2, "smallest takes")
    both = run("compress", "photo.png", "-o", "t.vlae", "--size", "9", "-q", "50")
    assert_fails(both, 2, "--quality excludes")


def test_metadata_and_frames(run: Run) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a picture"
    exif.get_ifd(0x8825)[1] = "N"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save("here.jpg", exif=exif)
    for arguments, kept in (
        ((), (True, True)),
        (("--strip", "gps"), (True, False)),
        (
            ("--strip",),
            (False, False),
        ),
    ):
        assert run("compress", "here.jpg", "--force", *arguments).exit_code == 0
        assert run("decompress", "here.vlae", "--force").exit_code == 0
        with Image.open("here.vlae.png") as image:
            tags = image.getexif()
            assert (0x010E in tags, bool(tags.get_ifd(0x8825))) == kept
    frames = [Image.fromarray(pixels), Image.fromarray(pixels[::-1])]
    frames[0].save("two.tiff", save_all=True, append_images=frames[1:])
    frames[1].save("second.png")
    assert_fails(run("compress", "two.tiff"), 3, "2 frames")
    assert run("compress", "two.tiff", "--frame", "1").exit_code == 0
    assert run("compress", "second.png").exit_code == 0
    assert Path("two.vlae").read_bytes() == Path("second.vlae").read_bytes()


def test_previews_and_thumbnails(run: Run, compressed: Path) -> None:
    assert run("decompress", compressed, "-o", "a.png", "--scale", "1/4").exit_code == 0
    assert opened("a.png") == ("RGB", (14, 10))
    for side, size in ((1000, (53, 37)), (20, (20, 14)), (1, (1, 1))):
        arguments = ("--fit", str(side), "--force", "--threads", "1")
        assert run("decompress", compressed, "-o", "b.png", *arguments).exit_code == 0
        assert opened("b.png") == ("RGB", size)
    both = run("decompress", compressed, "-o", "c.png", "--fit", "9", "--texture", "1")
    assert_fails(both, 2, "--fit excludes")


def test_samples(run: Run, compressed: Path) -> None:
    arguments = ("decompress", compressed, "--texture", "1", "--samples", "3", "--seed", "254")
    assert run(*arguments).exit_code == 0
    pictures = [Path(f"photo.vlae.seed{seed}.png").read_bytes() for seed in (254, 255, 0)]
    assert len(set(pictures)) == 3
    assert run("decompress", compressed, "-o", "a.png", "--texture", "1", "--seed", "0")
    assert Path("a.png").read_bytes() == pictures[2]
    assert_fails(run(*arguments), 2, "photo.vlae.seed254.png exists")
    assert_fails(run(*arguments, "-o", "-"), 2, "--samples excludes")


def test_explained(run: Run, compressed: Path) -> None:
    facts = json.loads(run("explain", compressed, "-o", "map.png", "--json").stdout)
    assert np.sum(facts["map_of_bits"]) == pytest.approx(facts["latent_bits"], rel=1e-2)
    assert np.shape(facts["map_of_bits"]) == np.shape(facts["map_of_texture"]) == (3, 4)
    assert facts["latent_bits"] + facts["other_bits"] == pytest.approx(facts["predicted_bits"])
    assert facts["latent_bits"] <= 8 * facts["streams"]["stack"] * 1.05
    assert sum(facts["streams"].values()) == os.path.getsize(compressed)
    with Image.open("map.png") as image:
        assert image.size == (3 * 53 + 8, 37 + 18)
    shown = run("explain", compressed)
    assert shown.exit_code == 0 and "a cell of 16 x 16 pixels" in shown.stdout
    assert_fails(run("explain", "photo.png"), 4, "not a .vlae file")


def test_jpeg_output(run: Run) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    Image.fromarray(pixels).save("clear.png")
    assert run("compress", "clear.png").exit_code == 0
    assert_fails(run("decompress", "clear.vlae", "-o", "a.jpg"), 2, "JPEG cannot hold")
    white = ("--background", "white")
    assert run("decompress", "clear.vlae", "-o", "a.jpg", *white).exit_code == 0
    assert opened("a.jpg") == ("RGB", (30, 20))
    arguments = ("-o", "b.jpg", *white, "--output-quality", "20")
    assert run("decompress", "clear.vlae", *arguments).exit_code == 0
    assert os.path.getsize("b.jpg") < os.path.getsize("a.jpg")
    bad = run("decompress", "clear.vlae", "-o", "c.jpg", "--background", "whitish")
    assert_fails(bad, 2, "is no colour")


def test_texture_and_seed_reach_the_codec(run: Run, compressed: Path) -> None:
    def pixels(name: str, *options: str) -> bytes:
        assert run("decompress", compressed, "-o", name, *options).exit_code == 0
        with Image.open(name) as image:
            return image.tobytes()

    plain = pixels("plain.png", "--texture", "0")
    assert pixels("other.png", "--texture", "0", "--seed", "1") == plain
    full = pixels("full.png", "--texture", "1")
    assert full != plain
    assert pixels("again.png", "--texture", "1") == full
    assert pixels("seed.png", "--texture", "1", "--seed", "1") != full


def test_output_formats(run: Run, compressed: Path) -> None:
    for arguments, name, form in (
        (("-o", "a.jpg"), "a.jpg", "JPEG"),
        (("-o", "a.TIF"), "a.TIF", "TIFF"),
        (("--format", "webp"), "photo.vlae.webp", "WEBP"),
        (("-o", "b.jpg", "--format", "png"), "b.jpg", "PNG"),
    ):
        assert run("decompress", compressed, *arguments).exit_code == 0
        with Image.open(name) as image:
            assert image.format == form


def test_sixteen_bits_are_announced(run: Run) -> None:
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save("deep.png")
    result = run("compress", "deep.png")
    assert result.exit_code == 0
    assert "only 8 are kept" in result.stderr
    assert run("decompress", "deep.vlae", "-o", "out.png").exit_code == 0
    with Image.open("out.png") as image:
        assert image.mode == "L"


def test_info(run: Run, compressed: Path) -> None:
    result = run("info", compressed)
    assert result.exit_code == 0
    for text in ("53 x 37, colour", "quality    50", "tiny (", "header 34", "the model predicts"):
        assert text in result.stdout
    facts = json.loads(run("info", compressed, "--json").stdout)
    assert sum(facts["sizes"].values()) == facts["bytes"] == compressed.stat().st_size
    assert facts["model"] == "tiny"
    # Law 3: the file is no larger than the model's -log2 p and 1 % and 64 bytes.
    assert facts["bytes"] <= 1.01 * facts["predicted_bytes"] + 64


def test_models(run: Run, tiny_models: Path) -> None:
    cards = json.loads(run("models", "--json").stdout)
    tiny = next(card for card in cards if card["name"] == "tiny")
    assert tiny["default"] and tiny["bytes"] == (tiny_models / "tiny.safetensors").stat().st_size
    assert len(tiny["id"]) == 16
    shown = run("models").stdout
    assert tiny["id"] in shown and "(default for qualities 0 to 100): Golden" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compress",), "Missing argument"),
        (("compress", "photo.png", "-q", "101"), "101"),
        (("compress", "photo.png", "-q", "nan"), "nan"),
        (("compress", "photo.png", "-q", "high"), "high"),
        (("compress", "photo.png", "--effort", "10"), "10"),
        (("compress", "photo.png", "--effort", "1.5"), "1.5"),
        (("compress", "photo.png", "--tune", "psnr"), "effort"),
        (("compress", "photo.png", "--effort", "1", "--tune", "lpips"), "lpips"),
        (("compress", "photo.png", "--nonsense"), "--nonsense"),
        (("compress", "absent.png"), "cannot read absent.png: No such file"),
        (("compress", "photo.png", "-o", "photo.png", "--force"), "is the input"),
        (("compress", "photo.png", "-o", "no/photo.vlae"), "no folder no"),
        (("compress", ""), "name of a file is empty"),
        (("compress", "photo.png", "-o", ""), "name of a file is empty"),
        (("compress", "empty"), "no .png or .jpg or .jpeg or ... files in empty"),
        (("decompress", "photo.vlae", "-o", ""), "name of a file is empty"),
        (("decompress", "."), "1 of 1 outputs exist, the first is photo.vlae.png"),
        (("info", ""), "name of a file is empty"),
        (("compress", "photo.png", "-o", "-", "--json"), "both want standard output"),
        (("decompress", "photo.vlae", "--texture", "1.5"), "1.5"),
        (("decompress", "photo.vlae", "--seed", "256"), "256"),
        (("decompress", "photo.vlae", "--format", "gif"), "gif"),
        (("decompress", "photo.vlae", "-o", "photo.gif"), "names no known format"),
        (("decompress", "photo.vlae"), "photo.vlae.png exists"),
        (("nonsense",), "nonsense"),
    ],
)
def test_usage_errors(run: Run, compressed: Path, arguments: tuple[str, ...], message: str) -> None:
    os.mkdir("empty")
    Path("photo.vlae.png").write_bytes(b"another's")
    before = sorted(os.listdir())
    assert_fails(run(*arguments), 2, message)
    assert sorted(os.listdir()) == before


def test_errors_as_json(run: Run, compressed: Path) -> None:
    for arguments, code in (
        (("compress", "photo.png"), 2),
        (("compress", "photo.png", "--nonsense"), 2),
        (("decompress", "photo.png", "-o", "x.png"), 4),
    ):
        failed = run(*arguments, "--json")
        facts = json.loads(failed.stdout)
        assert facts["exit_code"] == failed.exit_code == code
        assert failed.stderr == f"vlaec: {facts['error']}\n"


def test_no_message_leads_to_the_loss_of_a_photograph(run: Run, compressed: Path) -> None:
    failed = run("decompress", compressed, "-o", "photo.png")
    assert_fails(failed, 2, "photo.png exists; choose another name with -o")
    assert "--force" not in failed.stderr
    assert "--force" in run("compress", "photo.png").stderr


def test_quiet_and_verbose(run: Run) -> None:
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save("deep.png")
    assert run("compress", "deep.png", "--quiet").output == ""
    said = run("compress", "deep.png", "--force", "--verbose").stderr
    assert "only 8 are kept" in said and "deep.png -> deep.vlae: " in said


def test_what_is_compressed_already(run: Run, compressed: Path) -> None:
    assert_fails(run("compress", compressed), 3, "photo.vlae is a .vlae file already")


def test_existing_output_stays_without_force(run: Run, compressed: Path) -> None:
    before = compressed.read_bytes()
    assert_fails(run("compress", "photo.png", "-q", "90"), 2, "photo.vlae exists")
    assert compressed.read_bytes() == before
    assert run("compress", "photo.png", "-q", "90", "--force").exit_code == 0
    assert compressed.read_bytes() != before


def test_bad_pictures(run: Run) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save("whole.png")
    contents = {
        "empty.png": b"",
        "text.png": b"these are words\n",
        "cut.png": Path("whole.png").read_bytes()[:500],
    }
    messages = {"empty.png": "is empty", "text.png": "not a picture", "cut.png": "truncated"}
    for name, data in contents.items():
        Path(name).write_bytes(data)
        assert_fails(run("compress", name), 3, f"{name}: ")
        assert messages[name] in run("compress", name).stderr
        assert not Path(name).with_suffix(".vlae").exists()


@pytest.mark.parametrize("command", ["decompress", "info"])
def test_bad_files(run: Run, compressed: Path, command: str) -> None:
    good = compressed.read_bytes()
    claims = bytearray(good)
    claims[6:14] = b"\x00\x00\x00\x80" * 2  # 2^31 x 2^31
    cases = {
        "the file is empty": b"",
        "not a .vlae file": Path("photo.png").read_bytes(),
        "needs a newer vlaec": good[:4] + b"\x63" + good[5:],
        "header's checksum": bytes(claims),
        "truncated": good[:-1],
        "chunk's checksum": good[:50] + bytes([good[50] ^ 1]) + good[51:],
    }
    for message, data in cases.items():
        Path("bad.vlae").write_bytes(data)
        assert_fails(run(command, "bad.vlae"), 4, message)
        assert not Path("bad.png").exists()


def test_missing_models(run: Run, compressed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_fails(run("compress", "photo.png", "-o", "b.vlae", "--model", "none"), 5, "'none'")
    monkeypatch.setenv("VLAEC_MODELS", "/nonexistent")
    model_id = container.info(compressed.read_bytes()).header.model_id.hex()
    assert_fails(run("decompress", compressed, "-o", "b.png"), 5, model_id)
    assert "not installed" in run("info", compressed).stdout
    assert json.loads(run("info", compressed, "--json").stdout)["model"] is None


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "out of memory"),
        (OSError(5, "Input/output error"), 2, "Input/output error"),
        (ZeroDivisionError("a\nb"), 1, "internal error, please report it (ZeroDivisionError: a b)"),
    ],
)
def test_no_traceback_reaches_the_user(
    run: Run,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    message: str,
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise error

    monkeypatch.setattr(codec, "encode", fail)
    result = run("compress", picture)
    assert result.exit_code == code
    assert result.stderr.strip().endswith(f"vlaec: {message}") or message in result.stderr
    assert sorted(os.listdir()) == ["photo.png"]


def test_output_that_appears_meanwhile_stays(
    run: Run, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = codec.encode

    def slow(*arguments: Any, **options: Any) -> bytes:
        Path("photo.vlae").write_bytes(b"another's")
        return encode(*arguments, **options)

    monkeypatch.setattr(codec, "encode", slow)
    assert_fails(run("compress", picture), 2, "exists")
    assert Path("photo.vlae").read_bytes() == b"another's"


def test_help_and_version(run: Run) -> None:
    shown = run("--version").stdout
    assert shown.startswith(f"vlaec {vlaec.__version__}\n")
    for word in ("Python", f"numpy         {np.__version__}", "pillow", "models        tiny ("):
        assert word in shown
    result = run()
    assert result.exit_code == 2 and "compress" in result.stderr
    for command in ("compress", "decompress", "info", "models"):
        assert "Usage: vlaec" in run(command, "--help").stdout


def test_streams_in_a_real_process(run: Run, picture: Path) -> None:
    made = process("compress", "-", input=picture.read_bytes())
    assert (made.returncode, made.stderr) == (0, b"")
    back = process("decompress", "-", "-o", "-", "--texture", "0", input=made.stdout)
    assert (back.returncode, back.stderr) == (0, b"")
    Path("back.png").write_bytes(back.stdout)
    with Image.open("back.png") as image:
        assert image.size == (53, 37)
    shown = process("info", "-", "--json", input=made.stdout)
    assert json.loads(shown.stdout)["bytes"] == len(made.stdout)


def test_errors_in_a_real_process(run: Run, compressed: Path) -> None:
    for arguments, code in (
        (("compress",), 2),
        (("compress", compressed, "-o", "b.vlae"), 3),
        (("decompress", "photo.png", "-o", "b.png"), 4),
        (("compress", "photo.png", "-o", "b.vlae", "--model", "none"), 5),
    ):
        failed = process(*arguments)
        assert failed.returncode == code, failed.stderr
        assert failed.stdout == b""
        assert failed.stderr.startswith(b"vlaec: ") and failed.stderr.count(b"\n") == 1


def test_a_reader_that_goes_away(run: Run, compressed: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stream:
        command = [sys.executable, "-m", "vlaec", "info", str(compressed)]
        failed = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, timeout=60)
    assert failed.returncode == 1
    assert failed.stderr == b""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_nothing(tmp_path: Path, stop: signal.Signals) -> None:
    """Stopped between writing the temporary file and giving it its name."""
    script = f"""
import os, signal, sys
from vlaec import files
from vlaec.cli import main as cli
os.fsync = lambda _: os.kill(os.getpid(), {int(stop)})
files.read_bytes = lambda path: files.write_atomically("out", b"half")
sys.argv = ["vlaec", "info", "x"]
cli.main()
"""
    stopped = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True)
    assert stopped.returncode == 128 + stop
    assert b"Traceback" not in stopped.stderr
    assert os.listdir(tmp_path) == []


HEAVY = {"torch", "onnxruntime", "constriction", "rich", "threadpoolctl"}
HEAVIER = HEAVY | {"numpy", "PIL", "importlib.metadata", "multiprocessing", "socket"}


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], HEAVIER),
        (["compress", "--help"], HEAVIER),
        (["completion", "bash"], HEAVIER),
        (["info", "photo.vlae"], HEAVY | {"PIL"}),
        (["models"], HEAVY | {"PIL"}),
        (["compress", "absent.png"], HEAVY),
        (["compress", "photo.png"], HEAVY),
        (["compress", "bad.png"], HEAVY),
        (["compress", "photo.png", "-o", "x.vlae", "--model", "none"], HEAVY),
        (["compress", ".", "-o", "out", "--size", "none"], HEAVY),
        (["decompress", "bad.png"], HEAVY),
        (["decompress", "photo.vlae", "-o", "photo.png"], HEAVY),
        (["decompress", "photo.vlae", "-o", "x.png", "--max-pixels", "9"], HEAVY),
        (["verify", "absent.vlae"], HEAVY),
        (["explain", "bad.png"], HEAVY),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_can_be_refused_is_refused_before_anything_heavy_is_loaded(
    run: Run, compressed: Path, arguments: list[str], unwanted: set[str]
) -> None:
    Path("bad.png").write_bytes(b"no picture")
    script = f"""
import sys
from vlaec.cli.main import cli
try:
    cli.main({arguments!r})
finally:
    print("loaded", sorted({unwanted!r} & set(sys.modules)), file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert result.stderr.splitlines()[-1] == b"loaded []"


def test_public_names() -> None:
    for name in vlaec.__all__:
        assert getattr(vlaec, name) is not None
    assert set(vlaec.__all__) <= set(dir(vlaec))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = vlaec.nonsense

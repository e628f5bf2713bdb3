"""Limits that callers set, on pixels and on memory, hold for every kind of input."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vlaec
from vlaec import limits
from vlaec.cli.main import cli
from vlaec.errors import BadFileError, BadImageError, UsageError
from vlaec.images import Picture

GOLDEN = Path(__file__).resolve().parent / "golden"
PIXELS = np.zeros((40, 30, 3), np.uint8)


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(GOLDEN / "models"))


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "png")
    return stream.getvalue()


def tensor() -> Any:
    torch = pytest.importorskip("torch")
    return torch.zeros(3, 40, 30, dtype=torch.uint8)


INPUTS = {
    "file": lambda: png(30, 40),
    "unread": lambda: Image.open(io.BytesIO(png(30, 40))),
    "pillow": lambda: Image.fromarray(PIXELS),
    "array": lambda: PIXELS,
    "picture": lambda: Picture(PIXELS),
    "tensor": tensor,
}


@pytest.mark.parametrize("kind", INPUTS)
def test_limits_hold_for_every_kind_of_input(kind: str) -> None:
    needed = limits.memory_to_compress(1200)
    vlaec.compress(INPUTS[kind](), model="tiny", max_pixels=1200, max_memory=needed)
    with pytest.raises(BadImageError, match="30 x 40 exceeds the limit of 1199 pixels"):
        vlaec.compress(INPUTS[kind](), model="tiny", max_pixels=1199)
    with pytest.raises(BadImageError, match=r"30 x 40 may need .* MB of memory, more than"):
        vlaec.compress(INPUTS[kind](), model="tiny", max_memory=needed - 1)


def test_memory_is_checked_from_the_header() -> None:
    large = png(8000, 8000)
    tracemalloc.start()
    with pytest.raises(BadImageError, match="8000 x 8000 may need"):
        vlaec.compress(large, model="tiny", max_memory="1G")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_file_that_needs_more_memory_is_refused() -> None:
    data = (GOLDEN / "photo-q60-v2.vlae").read_bytes()
    needed = limits.memory_to_decompress(128 * 128)
    assert vlaec.decompress(data, max_memory=needed).size == (128, 128)
    with pytest.raises(BadFileError, match="128 x 128 may need"):
        vlaec.decompress(data, max_memory=needed - 1)


def test_more_pixels_and_a_search_need_more() -> None:
    for pixels in (1, 10**6, 10**8):
        assert limits.memory_to_compress(pixels) < limits.memory_to_compress(2 * pixels)
        assert limits.memory_to_decompress(pixels) < limits.memory_to_decompress(2 * pixels)
        assert limits.memory_to_compress(pixels) < limits.memory_to_compress(pixels, 1)


@pytest.mark.parametrize("size", ["2G", "2gb", "2000 MB", 2 * 10**9, np.int64(2 * 10**9), 2e9])
def test_units_of_memory(size: Any) -> None:
    vlaec.compress(PIXELS, model="tiny", max_memory=size)
    with pytest.raises(BadImageError, match="more than 2000000000 bytes"):
        vlaec.compress(png(16000, 16000), model="tiny", max_memory=size)


@pytest.mark.parametrize("bad", ["", "much", "-1", "3T", 0, -5, True, float("nan"), [1]])
def test_what_is_no_size_of_memory(bad: Any) -> None:
    with pytest.raises(UsageError):
        vlaec.compress(PIXELS, model="tiny", max_memory=bad)
    with pytest.raises(UsageError):
        vlaec.decompress((GOLDEN / "pixel-q50.vlae").read_bytes(), max_memory=bad)


def test_a_process_takes_no_more_than_is_said() -> None:
    """With the default model, whose widths the numbers are of."""
    code = """
import re
from pathlib import Path
import numpy as np
import vlaec
pixels = np.random.default_rng(0).integers(0, 256, (512, 768, 3), np.uint8)
vlaec.decompress(vlaec.compress(pixels, 30), 1.0)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
    # Not getrusage's peak, which a process has from the one that started it.
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "PYTHONPATH": str(GOLDEN.parent.parent), "VLAEC_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    pixels = 512 * 768
    said = max(limits.memory_to_compress(pixels), limits.memory_to_decompress(pixels))
    assert 1024 * int(done.stdout) < said


def test_the_command_line_refuses_in_one_line(tmp_path: Path) -> None:
    picture, packed = tmp_path / "a.png", GOLDEN / "pixel-q50.vlae"
    picture.write_bytes(png(30, 40))
    for arguments in (["compress", str(picture)], ["decompress", str(packed)]):
        arguments += ["-o", str(tmp_path / "out.png"), "--max-memory"]
        result = CliRunner().invoke(cli, [*arguments, "1M"])
        assert isinstance(result.exception, SystemExit) and result.exit_code > 0
        assert "MB of memory, more than 1000000 bytes" in result.stderr
        assert result.stderr.count("\n") == 1
        assert "no size" in CliRunner().invoke(cli, [*arguments, "many"]).stderr
        assert not (tmp_path / "out.png").exists()
        assert CliRunner().invoke(cli, [*arguments, "1.5G"]).exit_code == 0
        (tmp_path / "out.png").unlink()


def test_estimates_of_memory_are_no_less_than_what_was_measured() -> None:
    results = Path(__file__).parent.parent / "benchmarks" / "results" / "memory.json"
    sizes = json.loads(results.read_text())["sizes"].values()
    for size in sizes:
        pixels = size["width"] * size["height"]
        for call, estimate in (
            ("compress", limits.memory_to_compress),
            ("decompress", limits.memory_to_decompress),
        ):
            assert estimate(pixels) >= 2**30 * size[call]["peak_gb"]
    assert sizes

"""`.vlae` files in Pillow."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import vlaec
from vlaec import api, preview

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (37, 53, 3), np.uint8)


@pytest.fixture(autouse=True)
def tiny(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAEC_MODELS", str(tiny_models))
    vlaec.register()
    vlaec.register()


@pytest.mark.parametrize(
    "pixels",
    [RGB, np.dstack([RGB, RGB[..., 0]]), RGB[..., 0], RGB[..., :2]],
    ids=["RGB", "RGBA", "L", "LA"],
)
def test_saved_and_opened(pixels: np.ndarray, tmp_path: Path) -> None:
    original = Image.fromarray(pixels)
    original.save(tmp_path / "a.vlae", quality=20)
    data = (tmp_path / "a.vlae").read_bytes()
    assert data == vlaec.compress(original, quality=20)
    with Image.open(tmp_path / "a.vlae") as image:
        assert (image.format, image.size, image.mode) == ("VLAE", (53, 37), original.mode)
        assert image.info["quality"] == 20 and image.get_format_mimetype() == "image/x-vlae"
        expected = vlaec.decompress(data)
        assert image.mode == expected.mode and image.tobytes() == expected.tobytes()
        assert image.tobytes() == expected.tobytes()  # a second time
    assert Image.registered_extensions()[".vlae"] == "VLAE"


def test_opening_decodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = vlaec.compress(RGB)
    monkeypatch.setattr(api, "decode", lambda *_: pytest.fail("decoded"))
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (53, 37)


def test_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a picture"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    original = Image.fromarray(RGB)
    original.save(tmp_path / "a.vlae", exif=exif, icc_profile=profile, xmp=b"<x:xmpmeta/>")
    assert not original.info
    with Image.open(tmp_path / "a.vlae") as image:
        assert image.getexif()[0x010E] == "a picture"
        assert image.info["icc_profile"] == profile and image.info["xmp"] == b"<x:xmpmeta/>"


@pytest.mark.parametrize("size", [(53, 37), (30, 30), (20, 10), (4, 3), (1, 1), (0, 0)])
def test_drafts(size: tuple[int, int]) -> None:
    data = vlaec.compress(RGB)
    with Image.open(io.BytesIO(data)) as image:
        assert image.draft(None, size) is not None
        sizes = {preview.reduced_size((53, 37), scale): scale for scale in preview.SCALES}
        scale = sizes[image.size]
        assert image.width >= min(53, size[0]) and image.height >= min(37, size[1])
        expected = vlaec.decompress(data, scale=scale) if scale > 1 else vlaec.decompress(data)
        assert image.tobytes() == expected.tobytes()
        assert image.draft(None, (1, 1)) is None  # too late
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((8, 8))
        assert max(image.size) == 8


def test_errors_are_those_that_users_of_pillow_expect(tmp_path: Path) -> None:
    data = vlaec.compress(RGB)
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(data[:-1]))
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(b"VLAX" + data[4:]))
    with pytest.raises(ValueError, match="quality"):
        Image.fromarray(RGB).save(tmp_path / "a.vlae", quality=101)
    with pytest.raises(OSError, match="mode F"):
        Image.fromarray(RGB[..., 0].astype(np.float32)).save(tmp_path / "a.vlae")
    assert not list(tmp_path.iterdir())


def test_nothing_is_registered_unasked(tmp_path: Path) -> None:
    (tmp_path / "a.vlae").write_bytes(vlaec.compress(RGB))
    script = "import sys, vlaec.pillow_plugin\nfrom PIL import Image\nImage.open(sys.argv[1])\n"
    command = [sys.executable, "-c", script, str(tmp_path / "a.vlae")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "cannot identify" in done.stderr

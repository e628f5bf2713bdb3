"""What is whole in a damaged file is saved, and the rest is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vlaec import images
from vlaec.errors import BadFileError
from vlaec.photo import container
from vlaec.photo.kind import salvage
from vlaec.sets import container as archive_container

HEADER = container.Header(6, 4, False, 5000, b"12345678", 0, 128, 77)
STACK = container.Stack(np.arange(1, 60, dtype=np.uint32), 3, -5)
ALPHA = images.encode_alpha(np.arange(24, dtype=np.uint8).reshape(4, 6))
METADATA = {"icc": b"profile" * 20, "exif": b"II*\0" * 9, "xmp": b"<x/>", "cicp": b"abcd"}
WHOLE = container.pack(container.Container(HEADER, STACK, ALPHA, METADATA))
GOLDEN = Path(__file__).resolve().parent / "golden_sets"


def saved(damaged: bytes) -> tuple[container.Container, list[str]]:
    sound, lost = salvage(damaged)
    return container.unpack(sound), lost


def test_a_whole_file_loses_nothing() -> None:
    parts, lost = saved(WHOLE)
    assert not lost and parts.metadata == METADATA and parts.alpha == ALPHA
    assert np.array_equal(parts.stack.words, STACK.words)


def test_every_damaged_byte_costs_at_most_its_own_part() -> None:
    sizes = container.info(WHOLE).sizes
    end = 0
    for name, size in sizes.items():
        start, end = end, end + size
        for position in range(start, end):
            for mask in (1, 0xFF):
                damaged = bytearray(WHOLE)
                damaged[position] ^= mask
                if name in ("header", "stack"):
                    with pytest.raises(BadFileError):
                        saved(bytes(damaged))
                    continue
                parts, lost = saved(bytes(damaged))
                assert len(lost) == 1 and lost[0] in (*sizes, "unknown part")
                kept = dict(METADATA)
                kept.pop(name, None)
                assert parts.metadata == kept
                assert parts.alpha == (None if name == "alpha" else ALPHA)
                assert np.array_equal(parts.stack.words, STACK.words)


def test_bytes_that_are_missing_or_new_cost_one_part() -> None:
    start = WHOLE.index(b"e", 34 + container.info(WHOLE).sizes["alpha"])
    for damaged in (WHOLE[:start] + WHOLE[start + 3 :], WHOLE[:start] + b"xxx" + WHOLE[start:]):
        parts, lost = saved(damaged)
        assert lost and np.array_equal(parts.stack.words, STACK.words)
        assert parts.alpha == ALPHA and parts.metadata["icc"] == METADATA["icc"]


@pytest.mark.parametrize("length", [0, 10, 34, 60, len(WHOLE) - 1])
def test_a_cut_file_has_no_picture(length: int) -> None:
    with pytest.raises(BadFileError):
        saved(WHOLE[:length])


def test_a_plane_that_is_no_plane_is_lost() -> None:
    made = container.pack(container.Container(HEADER, STACK, b"no PNG", {"xmp": b"<x/>"}))
    parts, lost = saved(made)
    assert parts.alpha is None and lost == ["alpha"] and parts.metadata == {"xmp": b"<x/>"}


@pytest.mark.parametrize("kind", ["lossless", "lossy"])
def test_archives_lose_their_names_at_most(kind: str) -> None:
    archive = archive_container.unpack((GOLDEN / f"tiny-binary-{kind}-v2.vlaa").read_bytes())
    named = replace(archive, names=tuple(f"{i}.png" for i in range(archive.header.count)))
    data = archive_container.pack(named)
    assert archive_container.salvage(data)[1] == []
    at = data.index(b"n", 34 + (9 + len(archive.steps or b"") if archive.steps else 0)) + 7
    damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    saved, lost = archive_container.salvage(damaged)
    assert lost == ["names"] and saved.names is None and saved.steps == archive.steps
    assert np.array_equal(saved.stack.words, archive.stack.words)
    with pytest.raises(BadFileError, match="nothing can be saved"):
        archive_container.salvage(data[:-1])


PHOTOS = Path(__file__).resolve().parent / "golden"


def damaged_photo() -> bytes:
    parts = container.unpack((PHOTOS / "grey-q80-v2.vlae").read_bytes())
    data = bytearray(container.pack(replace(parts, metadata={"xmp": b"<x/>", "exif": b"II*"})))
    data[data.index(b"<x/>")] ^= 1
    return bytes(data)


def test_commands_save_and_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vlaec.cli.main import cli

    monkeypatch.setenv("VLAEC_MODELS", str(PHOTOS / "models"))
    source, output = tmp_path / "a.vlae", tmp_path / "a.png"
    source.write_bytes(damaged_photo())

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stopped:
            cli.main(list(arguments))
        return int(stopped.value.code or 0), capsys.readouterr().err

    code, told = run("decompress", str(source), "-o", str(output))
    assert code == 4 and "checksum" in told and not output.exists()
    code, told = run("decompress", str(source), "-o", str(output), "--salvage")
    assert code == 0 and "lost: xmp" in told
    picture = images.read(output)
    assert picture.exif == b"II*" and picture.xmp is None
    code, told = run("verify", str(source))
    assert code == 4 and "all can be saved but: xmp" in told
    source.write_bytes(damaged_photo()[:-1])
    code, told = run("verify", str(source))
    assert code == 4 and "nothing can be saved" in told

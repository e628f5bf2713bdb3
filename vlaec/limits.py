"""Limits of the format that pictures, containers and archives share, and limits set by callers."""

from __future__ import annotations

# Pixels of one picture.
MAX_PIXELS = 2**28
# Bytes of one block of metadata (ICC, EXIF, XMP, ...) once it is expanded.
MAX_METADATA = 2**26
# Values (pixels times colours) of all images of an archive.
MAX_VALUES = 2**30

# Memory of a process that compresses or decompresses one picture: MiB whatever its size, and bytes
# of each pixel; no less than what `benchmarks.memory` measures.
_COMPRESSING = 640, 16
_DECOMPRESSING = 480, 9
# What is sampled at a time, and made ahead of it, grows with the first pixels alone.
_SAMPLED = 2**22, 180
# What the search of `--effort` adds: PyTorch, and the pixels of one tile.
_SEARCHING = 600, 12
_TILE = 1152**2, 1500


def memory_to_compress(pixels: int, effort: int = 0) -> int:
    """Bytes that compressing a picture takes at most, roughly."""
    search = _bytes(_SEARCHING, pixels) + _first(_TILE, pixels) if effort else 0
    return _bytes(_COMPRESSING, pixels) + search


def memory_to_decompress(pixels: int) -> int:
    """Bytes that decompressing a picture takes at most, roughly."""
    return _bytes(_DECOMPRESSING, pixels) + _first(_SAMPLED, pixels)


def why_too_large(
    width: int, height: int, max_pixels: int, needed: int, max_memory: int | None
) -> str | None:
    """One line on a picture beyond a limit, or None.

    needed: bytes of memory; see above.
    """
    size = f"too large: {width} x {height}"
    if width * height > max_pixels:
        return f"{size} exceeds the limit of {max_pixels} pixels"
    if max_memory is not None and needed > max_memory:
        return f"{size} may need {-(-needed // 10**6)} MB of memory, more than {max_memory} bytes"
    return None


def _bytes(model: tuple[int, int], pixels: int) -> int:
    constant, each = model
    return constant * 2**20 + each * pixels


def _first(part: tuple[int, int], pixels: int) -> int:
    most, each = part
    return each * min(pixels, most)

"""`.vlae` files in Pillow: `Image.open`, `Image.save`, `draft`, extensions and MIME type.

Nothing happens on import: `register` puts the format in Pillow's tables. Opening reads the header
and the metadata; the picture is decoded when its pixels are first asked for.
"""

from __future__ import annotations

from dataclasses import fields
from typing import IO, Any

from PIL import Image, ImageFile

from . import api, preview
from .errors import UsageError, VlaecError
from .inputs import as_picture
from .options import CompressOptions
from .photo import container

FORMAT = "VLAE"
MIME = "image/x-vlae"
EXTENSION = ".vlae"

_OPTIONS = {option.name for option in fields(CompressOptions)}


class VlaeImageFile(ImageFile.ImageFile):
    """A `.vlae` file as Pillow opens it."""

    format = FORMAT
    format_description = "VLAE lossy image"

    def _open(self) -> None:
        assert self.fp is not None
        self._data: bytes | None = self.fp.read()
        self._scale = 1
        try:
            parts = container.unpack(self._data)
        except VlaecError as error:
            raise OSError(str(error)) from error
        header = parts.header
        colours = "L" if header.one_channel else "RGB"
        self._mode = colours + ("" if parts.alpha is None else "A")
        self._full = self._size = (header.width, header.height)
        self.info["quality"] = header.quality
        blocks = (
            ("icc", "icc_profile", b""),
            ("exif", "exif", b"Exif\x00\x00"),
            ("xmp", "xmp", b""),
        )
        for name, pillows, prefix in blocks:
            if name in parts.metadata:
                self.info[pillows] = prefix + parts.metadata[name]

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Choose a reduced size for the decoder: the smallest that is no smaller than `size`."""
        if self._data is None or size is None:
            return None
        wanted = min(self._full[0] // max(1, size[0]), self._full[1] // max(1, size[1]))
        self._scale = max(scale for scale in preview.SCALES if scale <= max(1, wanted))
        self._size = preview.reduced_size(self._full, self._scale)
        return self.mode, (0, 0, self._full[0] / self._scale, self._full[1] / self._scale)

    def load(self) -> Any:
        """Decode the picture if that is still to be done. Raises OSError."""
        if self._data is not None:
            try:
                image = api.decompress(self._data, scale=self._scale)
            except VlaecError as error:
                raise OSError(str(error)) from error
            self.im, self._data = image.im, None
            if self.fp is not None and self._exclusive_fp:
                self.fp.close()
                self.fp = None
        return super().load()


def _save(image: Image.Image, stream: IO[bytes], filename: str | bytes) -> None:
    """Write an image. Options of `vlaec.compress` that are given to `Image.save` are used.

    Raises ValueError for a bad option, OSError for an image that cannot be kept.
    """
    given: dict[str, Any] = image.encoderinfo
    changed = {key: given[key] for key in ("exif", "icc_profile", "xmp") if key in given}
    if changed:
        image = image.copy()
        for key, block in changed.items():
            image.info[key] = block.tobytes() if isinstance(block, Image.Exif) else block
    try:
        options = CompressOptions(**{key: given[key] for key in _OPTIONS & given.keys()})
        data = api.encode(as_picture(image), options)
    except UsageError as error:
        raise ValueError(str(error)) from error
    except VlaecError as error:
        raise OSError(str(error)) from error
    stream.write(data)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(container.MAGIC)


def register() -> None:
    """Let Pillow open and save `.vlae` files. More calls than one change nothing."""
    Image.register_open(FORMAT, VlaeImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, EXTENSION)
    Image.register_mime(FORMAT, MIME)

"""Blocks of metadata by name, which pictures and files carry alike."""

from __future__ import annotations

from collections.abc import Mapping


class Described:
    """Has blocks of metadata; their names are in `images.METADATA`."""

    metadata: Mapping[str, bytes]

    @property
    def icc(self) -> bytes | None:
        """The ICC profile."""
        return self.metadata.get("icc")

    @property
    def exif(self) -> bytes | None:
        """The EXIF block, without the prefix of JPEG."""
        return self.metadata.get("exif")

    @property
    def xmp(self) -> bytes | None:
        """The XMP packet."""
        return self.metadata.get("xmp")

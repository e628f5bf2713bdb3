"""Limits of the format that pictures, containers and archives share."""

from __future__ import annotations

# Pixels of one picture.
MAX_PIXELS = 2**28
# Bytes of one block of metadata (ICC, EXIF, XMP, ...) once it is expanded.
MAX_METADATA = 2**26
# Values (pixels times colours) of all images of an archive.
MAX_VALUES = 2**30

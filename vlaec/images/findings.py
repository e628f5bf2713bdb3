"""What a file says apart from its pixels, collected while it is scanned."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Findings:
    """Result of a scan.

    `pixels`: the file as the decoder of pixels is to read it; `metadata`: blocks by the names of
    `picture.METADATA`; `dropped`: names of things that are not kept; `notes`: sentences;
    `hidden`: blocks that Pillow would not show in an image's `info`.
    """

    pixels: bytes
    metadata: dict[str, bytes] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)

    def drop(self, name: str) -> None:
        """Say once that something is not kept."""
        if name not in self.dropped:
            self.dropped.append(name)

    def drop_resolution(self, x: float, y: float) -> None:
        """Say that pixels per inch are not kept, unless programs write them unasked."""
        if (round(x), round(y)) not in ((72, 72), (96, 96), (1, 1), (0, 0)):
            self.drop(f"resolution ({x:.0f} x {y:.0f} per inch)")

    def hide(self, name: str, block: bytes) -> None:
        """Keep a block that Pillow would not show, unless the file has another of that name."""
        if self.metadata.setdefault(name, block) is block:
            self.hidden.add(name)

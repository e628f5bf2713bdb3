"""XMP packets: kept as they are, with the extension of a JPEG put back into its packet.

Source: XMP specification part 3, "Extended XMP in JPEG".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from ..limits import MAX_METADATA
from .findings import Findings

PREFIX = b"http://ns.adobe.com/xap/1.0/\x00"
EXTENSION = b"http://ns.adobe.com/xmp/extension/\x00"

_GUID = re.compile(rb"\s*[\w]+:HasExtendedXMP\s*=\s*[\"']([0-9A-Fa-f]{32})[\"']")
_RDF = re.compile(rb"<(\w+):RDF\b([^>]*)>(.*)</\1:RDF\s*>", re.DOTALL)
_NAMESPACE = re.compile(rb"xmlns:([\w.-]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_DESCRIPTION = re.compile(rb"<(\w+:Description)\b([^>]*)>")
_GAIN_MAP = re.compile(rb"hdrgm:Version|HDRGainMap|http://ns.adobe.com/hdr-gain-map/")


def keep(findings: Findings, packet: bytes) -> None:
    """Put the first packet of a file among its metadata."""
    if packet:
        findings.metadata.setdefault("xmp", packet)


def has_gain_map(packet: bytes) -> bool:
    """Whether the packet says that the file carries a gain map."""
    return _GAIN_MAP.search(packet) is not None


def joined(packet: bytes, extensions: Mapping[bytes, bytes]) -> bytes | None:
    """The packet with the properties of its extension; None when the two do not go together.

    Args:
        extensions: complete extensions by GUID.
    """
    reference = _GUID.search(packet)
    extension = extensions.get(reference.group(1)) if reference else None
    if reference is None or extension is None:
        return None
    main, more = _RDF.search(packet), _RDF.search(extension)
    if main is None or more is None:
        return None
    outer = _NAMESPACE.findall(extension[: more.start(3)])

    def with_namespaces(match: re.Match[bytes]) -> bytes:
        declared = {name for name, _ in _NAMESPACE.findall(match.group(2))}
        missing = dict(pair for pair in outer if pair[0] not in declared)
        added = b"".join(b" xmlns:%s=%s" % pair for pair in missing.items())
        return b"<" + match.group(1) + added + match.group(2) + b">"

    inserted = _DESCRIPTION.sub(with_namespaces, more.group(3))
    whole = packet[: main.end(3)] + inserted + packet[main.end(3) :]
    whole = whole[: reference.start()] + whole[reference.end() :]
    if len(whole) > MAX_METADATA:
        return None
    try:
        ElementTree.fromstring(whole.strip(b"\0 \r\n\t"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    return whole

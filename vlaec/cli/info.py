"""The commands `vlaec info` and `vlaec models`. Importing this file needs no network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from .. import files
from .archive import show_archive
from .flags import json_option, source_argument
from .terminal import check_names, show

if TYPE_CHECKING:
    from ..photo.container import Info


@click.command()
@source_argument
@json_option
def info(source: str, as_json: bool) -> None:
    """Show what a .vlae or .vlaa file holds: size, model, bytes, predicted against actual."""
    from ..photo import container
    from ..sets import container as archive_container

    check_names(source)
    data = files.read_bytes(source)
    if data.startswith(archive_container.MAGIC):
        show_archive(source, archive_container.info(data), as_json)
        return
    summary = container.info(data)
    header = summary.header
    facts = {
        "file": source,
        "format_version": summary.version,
        **common_facts(summary),
        "grey": header.grey,
        "texture": round(header.texture, 3),
        "seed": header.seed,
        "sizes": summary.sizes,
        "bits_back_symbols": summary.bits_back,
        "stack_bytes": summary.stack_bits // 8,
        "predicted_bytes": round(summary.predicted_bits / 8, 1),
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    sizes = ", ".join(f"{name} {size}" for name, size in summary.sizes.items())
    name = facts["model"] or "not installed"
    more = summary.stack_bits / max(summary.predicted_bits, 1) - 1
    rows = {
        "file": f"{show(source)} (format version {summary.version})",
        "picture": f"{header.width} x {header.height}, {'grey' if header.grey else 'colour'}",
        "quality": f"{header.quality:g}",
        "model": f"{name} ({header.model_id.hex()})",
        "texture": f"{header.texture:.2f}, seed {header.seed}",
        "size": f"{summary.total} bytes, {summary.bpp:.4f} bits per pixel",
        "bytes": sizes,
        "stack": f"{facts['stack_bytes']} bytes; the model predicts {facts['predicted_bytes']} "
        f"({more:+.2%})",
        "bits-back": f"{summary.bits_back} symbols",
    }
    for key, value in rows.items():
        click.echo(f"{key:<10} {value}")


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the installed models."""
    from .. import zoo

    fields = ("name", "id", "description", "parameters", "bytes")
    cards = [
        {key: getattr(card, key) for key in fields}
        | {
            "kind": "photo" if isinstance(card, zoo.PhotoCard) else "set",
            "default": isinstance(card, zoo.PhotoCard) and card.default,
            "qualities": card.qualities if isinstance(card, zoo.PhotoCard) else (0, 100),
        }
        for card in zoo.list_models()
    ]
    if as_json:
        click.echo(json.dumps(cards))
        return
    width = max((len(card["name"]) for card in cards), default=0)
    for card in cards:
        lowest, highest = card["qualities"]
        mark = f" (default for qualities {lowest:g} to {highest:g})" if card["default"] else ""
        size = f"{card['parameters'] / 1e6:.1f} M parameters, {card['bytes'] / 1e6:.1f} MB"
        click.echo(f"{card['name']:<{width}} {card['id']}  {size}{mark}: {card['description']}")


def common_facts(info: Info) -> dict[str, Any]:
    """The facts that every command reports."""
    from .. import zoo

    header = info.header
    return {
        "bytes": info.total,
        "bpp": round(info.bpp, 5),
        "width": header.width,
        "height": header.height,
        "model": zoo.find_name(header.model_id),
        "model_id": header.model_id.hex(),
        "quality": header.quality,
    }

"""The commands `vlaec info` and `vlaec models`. Importing this file needs no network."""

from __future__ import annotations

import json

import click

from .. import files
from .flags import json_option, source_argument
from .terminal import check_names, show


@click.command()
@source_argument
@json_option
def info(source: str, as_json: bool) -> None:
    """Show what a .vlae or .vlaa file holds: size, model, bytes, predicted against actual."""
    from ..kinds import kind_of

    check_names(source)
    data = files.read_bytes(source)
    kind = kind_of(data)
    summary = kind.info(data)
    if as_json:
        head = {"file": source, "format_version": summary.version}
        click.echo(json.dumps(head | kind.facts(summary)))
        return
    head = {"file": f"{show(source)} (format version {summary.version})"}
    for key, value in (head | kind.rows(summary)).items():
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

"""The command `vlaec explain`. Importing this file needs no network."""

from __future__ import annotations

import json

import click

from .. import files
from .flags import force_option, json_option, quiet_option, source_argument, verbose_option
from .terminal import check_names, check_streams, remark, show


@click.command()
@source_argument
@click.option("-o", "--output", metavar="MAP", help="A PNG of the maps; - is standard output.")
@force_option
@json_option
@quiet_option
@verbose_option
def explain(source: str, output: str | None, force: bool, as_json: bool) -> None:
    """Show where the bits of a .vlae file went, and where its texture is invented.

    Prints a summary, and with --json also the maps: one value for every 16 x 16 pixels. MAP shows
    the picture, the bits and the texture next to each other.
    """
    check_names(source, output)
    data = files.read_bytes(source)
    if output is not None:
        check_streams(output, as_json)
        files.check_output(output, force, source)
    from ..photo import container

    container.info(data)  # refuses what is no such file before the networks are loaded
    from ..explain import explain as make
    from ..explain import to_png

    made = make(data)
    if output is not None:
        files.write_atomically(output, to_png(made.draw()), force)
        remark(f"{show(source)} -> {show(output)}")
    facts = made.facts()
    if as_json:
        click.echo(json.dumps({"file": source, "output": output, **facts}))
    elif output != "-":
        bits, texture = facts["bits_per_cell"], facts["texture"]
        rows = {
            "file": show(source),
            "bytes": ", ".join(f"{name} {size}" for name, size in facts["streams"].items()),
            "latents": f"{facts['latent_bits'] / 8:.0f} bytes; hyper-latents take "
            f"{facts['other_bits'] / 8:.0f}",
            "bits": f"{bits['mean']:.1f} in a cell of 16 x 16 pixels, {bits['most']:.1f} at most; "
            f"the richest tenth of the cells has {bits['share_of_the_richest_tenth']:.0%}",
            "texture": f"strength {texture['strength']:.2f}; adds {texture['mean']:.1f} levels "
            f"in the mean, {texture['most']:.1f} at most, and more than 2 in "
            f"{texture['share_of_cells_above_2_levels']:.0%} of the cells",
        }
        for key, value in rows.items():
            click.echo(f"{key:<10} {value}")

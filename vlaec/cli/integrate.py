"""The commands `vlaec integrate` and `vlaec completion`: what other programs need to know."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from .. import files
from .flags import force_option
from .terminal import remark

# Places below the user's data folder, and below `share` of the wheel's prefix.
PLACES = {
    "thumbnailers": "vlaec.thumbnailer",
    "mime/packages": "vlaec.xml",
    "man/man1": "vlaec.1",
}
MAGIC = "vlaec.magic"


def read_shipped(name: str) -> bytes:
    """A file for other programs, as it comes with the package."""
    return (resources.files("vlaec") / "desktop" / name).read_bytes()


@click.command()
@click.option(
    "--user", is_flag=True, help="Write the files for this user, instead of showing them."
)
@force_option
def integrate(user: bool, force: bool) -> None:
    """Make file managers and file(1) know .vlae files.

    Shows a freedesktop thumbnailer, a MIME type and lines for magic(5). With --user the first two
    and the manual page go below ~/.local/share, the last to ~/.magic unless that exists.
    """
    if not user:
        for place, name in PLACES.items():
            if name.endswith(".1"):
                continue
            click.echo(f"# ~/.local/share/{place}/{name}")
            click.echo(read_shipped(name).decode())
        click.echo(f"# ~/.magic\n{read_shipped(MAGIC).decode()}", nl=False)
        return
    share = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    targets = {share / place / name: name for place, name in PLACES.items()}
    if force or not (Path.home() / ".magic").exists():
        targets[Path.home() / ".magic"] = MAGIC
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.check_output(str(target), force)
    for target, name in targets.items():
        files.write_atomically(str(target), read_shipped(name), force)
        remark(f"wrote {target}")
    remark(f"now run: update-mime-database {share / 'mime'}")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes vlaec's commands and options in SHELL.

    For bash: vlaec completion bash > ~/.local/share/bash-completion/completions/vlaec
    """
    made = get_completion_class(shell)
    assert made is not None
    root = context.find_root()
    click.echo(made(root.command, {}, "vlaec", "_VLAEC_COMPLETE").source())

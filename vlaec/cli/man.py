"""The manual page, made of the commands themselves: `python -m vlaec.cli.man > vlaec.1`."""

from __future__ import annotations

import click

from .main import cli

EXIT_CODES = {
    "1": "something else went wrong",
    "2": "wrong usage, or an output that cannot be written",
    "3": "a picture that is damaged or of no known kind",
    "4": "a .vlae or .vlaa file that is damaged or foreign",
    "5": "a model that is not installed",
    "130": "interrupted",
}


def man_page() -> str:
    """The page in roff's man macros."""
    context = click.Context(cli, info_name="vlaec")
    lines = [
        '.TH VLAEC 1 "" "vlaec" "User Commands"',
        ".SH NAME",
        f"vlaec \\- {_escape(_sentence(cli.help))}",
        ".SH SYNOPSIS",
        ".B vlaec",
        "COMMAND [OPTIONS] [ARGUMENTS]",
        ".SH DESCRIPTION",
        "A .vlae file holds the structure of a picture. Fine texture is sampled when the file is",
        "decompressed, and is plausible, not recorded.",
        ".SH COMMANDS",
    ]
    lines += _commands(cli, context)
    lines += [".SH EXIT STATUS"]
    for code, meaning in EXIT_CODES.items():
        lines += [".TP", f".B {code}", meaning]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, context: click.Context) -> list[str]:
    lines: list[str] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            lines += _commands(command, inner)
            continue
        lines += [f".SS {_escape(inner.command_path)} {_escape(_usage(command, inner))}"]
        lines += [_escape(paragraph) + "\n" for paragraph in (command.help or "").split("\n\n")]
        for option in command.get_params(inner):
            record = option.get_help_record(inner)
            if record is not None and record[1]:
                lines += [".TP", f".B {_escape(record[0])}", _escape(record[1])]
    return lines


def _usage(command: click.Command, context: click.Context) -> str:
    return " ".join(command.collect_usage_pieces(context))


def _sentence(text: str | None) -> str:
    first = (text or "").split("\n\n")[0]
    return " ".join(first.split()).rstrip(".")


def _escape(text: str) -> str:
    """Plain text as roff takes it, in one line."""
    line = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + line if line.startswith((".", "'")) else line


if __name__ == "__main__":
    click.echo(man_page(), nl=False)

"""The group of commands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, NoReturn

import click

from .. import __version__
from ..errors import VlaecError
from .archive import archive
from .bench import bench
from .compress import compress
from .decompress import decompress
from .explain import explain
from .info import info, models
from .integrate import completion, integrate
from .streams import abandon, fill_closed, plain_warnings, say
from .verify import verify
from .version import versions

TRACEBACK = "VLAEC_TRACEBACK"


class _Program(click.Group):
    """Every error is one line on stderr, and under --json one object on stdout as well."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        words = args[0] if args else kwargs.get("args")
        as_json = "--json" in (sys.argv[1:] if words is None else words)
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            say(error.format_message())
            code = error.exit_code
        except click.ClickException as error:
            code = _fail(error.format_message(), error.exit_code, as_json)
        except VlaecError as error:
            code = _fail(str(error), error.exit_code, as_json)
        except (KeyboardInterrupt, click.Abort):
            code = _fail("interrupted", 130, as_json)
        except BrokenPipeError:
            # Nobody reads standard output any more; keep Python from flushing into it at exit.
            abandon(1)
            code = 1
        except MemoryError:
            code = _fail("out of memory; try a smaller picture", 1, as_json)
        except OSError as error:
            message = str(error)
            if error.filename is None:  # files are named: it is what was printed
                message = f"cannot write standard output: {error.strerror}"
                abandon(1)
            code = _fail(message, 2, as_json)
        except Exception as error:
            if os.environ.get(TRACEBACK):
                raise
            reason = f"{type(error).__name__}: {error}"
            code = _fail(f"internal error, please report it ({reason})", 1, as_json)
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int, as_json: bool) -> int:
    line = " ".join(message.split())
    say(f"vlaec: {line}")
    if as_json:
        click.echo(json.dumps({"error": line, "exit_code": code}))
    return code


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(f"vlaec {__version__}")
        for name, text in versions().items():
            click.echo(f"{name:<14}{text}")
        context.exit()


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the versions of vlaec and of what it runs on.",
)
def cli() -> None:
    """A lossy image codec that stores structure and resamples texture."""


for _command in (
    *(compress, decompress, info, explain, verify, models, archive, bench),
    *(integrate, completion),
):
    cli.add_command(_command)


def main() -> NoReturn:
    """Entry point of the console script."""

    def stop(signum: int, frame: Any) -> NoReturn:
        raise SystemExit(128 + signum)  # unlike the default action, runs the clean-up of `files`

    fill_closed()
    if not sys.warnoptions:
        plain_warnings()
    signal.signal(signal.SIGTERM, stop)
    cli.main(prog_name="vlaec")

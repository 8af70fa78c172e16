"""The command line. Thin: it reads words, calls the rooms below, and turns errors into sentences and exit codes.

Start-up time is a feature of a command that runs for half a second: a command's module is imported when it is called.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys

# Before numpy and pyarrow are loaded: no idle thread pool of a linear algebra library, and the allocator that gives
# memory back, so that a whole export stays below 100 MB.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

import click

from fluxport.errors import FluxportError
from fluxport.version import __version__

COMMANDS: dict[str, str] = {
    "demo": "fluxport.cli.demo:demo",
    "serve": "fluxport.cli.serve:serve",
    "worker": "fluxport.cli.worker:worker",
    "export": "fluxport.cli.export:export",
    "jobs": "fluxport.cli.jobs:jobs",
    "emulate": "fluxport.cli.emulate:emulate",
    "sign": "fluxport.cli.sign:sign",
    "secret": "fluxport.cli.sign:secret",
    "keys": "fluxport.cli.keys:keys",
    "users": "fluxport.cli.users:users",
    "audit": "fluxport.cli.audit:audit",
    "database": "fluxport.cli.upgrade:database",
    "check": "fluxport.cli.check:check",
    "config": "fluxport.cli.config:config",
}


class _Commands(click.Group):
    """Commands by name from the table above, imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="fluxport")
def root() -> None:
    """Query results as complete CSV, JSON, XLSX, Parquet and Arrow files, in one bounded-memory stream."""


def main() -> None:
    """The entry point: exit codes 0 done, 1 failed, 2 usage, 3 changed data under --strict."""
    try:
        # Outside its standalone mode click returns the code of a command that ends early, else what the command does.
        ended = root(standalone_mode=False)
        code = ended if isinstance(ended, int) else 0
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except FluxportError as error:
        click.echo(f"fluxport: {error.message}", err=True)
        if error.detail:
            click.echo(f"fluxport: it said: {error.detail}", err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("fluxport: interrupted; nothing was left behind.", err=True)
        code = 1
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    except Exception as error:  # noqa: BLE001  the last who can say it in a sentence
        code = 1
        _tell_fault(error)
    gc.freeze()  # what is left goes with the process; to look through it first takes a fifth of a second
    sys.exit(code)


def _tell_fault(error: Exception) -> None:
    """What no part of the program has expected: its kind alone, as its words may quote a secret."""
    click.echo(
        f"fluxport: this failed for a reason of ours ({type(error).__name__}); run it with FLUXPORT_TRACE=1 and report "
        "the places that it prints.",
        err=True,
    )
    if os.environ.get("FLUXPORT_TRACE"):
        from fluxport.telemetry.logs import places

        click.echo("\n".join(places(error)), err=True)

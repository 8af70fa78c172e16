"""The command line, a thin layer: it parses arguments, calls the packages below, and turns errors into messages and
exit codes.

A command may run for only half a second, so start-up time matters: its module is imported only when it is called.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

# Set before numpy and pyarrow load: no idle thread pool for linear algebra, and an allocator that returns memory to the
# system, so that a whole export stays below 100 MB. On Linux there is a better one (heap.frugal_malloc), unless the
# user chose this one: the last variable tells, to processes that this one starts as well.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
    os.environ |= {"ARROW_DEFAULT_MEMORY_POOL": "system", "_FLUXPORT_ARROW_POOL": "system"}


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """Without garbage collections, as imports create no garbage."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


with _loading():
    import click

    from fluxport.errors import FluxportError
    from fluxport.version import __version__

COMMANDS: dict[str, str] = {
    "demo": "fluxport.cli.demo:demo",
    "serve": "fluxport.cli.serve:serve",
    "worker": "fluxport.cli.worker:worker",
    "export": "fluxport.cli.export:export",
    "preview": "fluxport.cli.preview:preview",
    "tables": "fluxport.cli.tables:tables",
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
    """The commands of the table above, each imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        with _loading():
            command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="fluxport")
def root() -> None:
    """Query results as complete CSV, JSON, XLSX, Parquet, ORC and Arrow files, in one bounded-memory stream."""


def command() -> NoReturn:
    """The entry point of the installed script and of ``python -m fluxport``: :func:`main`, at whose end the process
    exits faster after an export, where nothing else runs in it."""
    try:
        main()
    except SystemExit as ended:
        if "fluxport.cli.export" in sys.modules and isinstance(ended.code, int):
            from fluxport.cli.leaving import exit_at_once, has_process

            if has_process(sys._getframe(1)):
                exit_at_once(ended.code)
        raise


def main() -> NoReturn:
    """Run the command of ``sys.argv``, for other programs too: raises SystemExit with the exit code, 0 done, 1 failed,
    2 usage, 3 changed data under --strict."""
    try:
        # Outside standalone mode click returns the exit code of a command that exits early, else the command's result.
        result = root(standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except FluxportError as error:
        click.echo(f"fluxport: {error.message}", err=True)
        if error.detail:
            click.echo(f"fluxport: details: {error.detail}", err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("fluxport: interrupted; nothing was left behind.", err=True)
        code = 1
    except BrokenPipeError:
        # The reader of our output has exited: discard the rest, which the interpreter would flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    except Exception as error:  # noqa: BLE001  the last place to turn it into a message
        code = 1
        _report_bug(error)
    gc.freeze()  # skips the collection at exit, which would take a fifth of a second
    sys.exit(code)


def _report_bug(error: Exception) -> None:
    """Report an unexpected exception by its type alone, as its message may quote a secret."""
    click.echo(
        f"fluxport: this failed because of a bug ({type(error).__name__}); run it with FLUXPORT_TRACE=1 and report the "
        "source locations that it prints.",
        err=True,
    )
    if os.environ.get("FLUXPORT_TRACE"):
        from fluxport.telemetry.logs import places

        click.echo("\n".join(places(error)), err=True)

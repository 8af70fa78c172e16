"""What a command advises, it has: every option in its messages is one of its own."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click

from fluxport.cli import COMMANDS, root

SOURCE = Path(__file__).parent.parent / "src"
CLI = SOURCE / "fluxport" / "cli"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-])(?!\s*[:)])")  # names of CSS have ':' or ')' behind them
OTHERS = {"--read-only"}  # an option of MySQL's server, in the words of its own error


def texts(path: Path) -> Iterator[str]:
    """The strings of a module that are no docstrings, placeholders of f-strings as ``{name}``."""
    tree = ast.parse(path.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [f"{{{ast.unparse(v.value)}}}" if isinstance(v, ast.FormattedValue) else v for v in node.values]
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside | statements:
            # An option alone is declared, or an argument for another process.
            yield from () if OPTION.fullmatch(node.value) else (node.value,)


def commands(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """The command and those below it, by their names."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            below = command.get_command(context, word)
            assert below is not None
            yield from commands(below, f"{name} {word}".strip())


def options(command: click.Command) -> set[str]:
    own = {word for param in command.params for word in (*param.opts, *param.secondary_opts)} | {"--help"}
    return own.union(*(options(below) for _, below in commands(command) if below is not command))


BY_NAME = dict(commands(root))


def of_module(path: Path) -> set[str]:
    """The options of the commands that a module of ``cli`` belongs to: its own, else those of what imports it."""
    name = f"fluxport.cli.{path.stem}"
    own = [word for word, place in COMMANDS.items() if place.startswith(f"{name}:")]
    if own:
        return set().union(*(options(BY_NAME[word]) for word in own))
    users = [other for other in CLI.glob("*.py") if other != path and re.search(rf"\b{path.stem}\b", other.read_text())]
    return set().union(*(of_module(other) for other in users if other.stem != "__init__"))


def wrong(text: str, own: set[str]) -> Iterator[str]:
    """Options in a text that neither ``own`` has nor the command in whose line they are."""
    for line in text.splitlines():
        named = [name for name in BY_NAME if name and re.search(rf"(?:fluxport|{{program}}) {name}\b", line)]
        known = options(BY_NAME[max(named, key=len)]) if named else own
        yield from (word for word in OPTION.findall(line) if word not in known | OTHERS)


def test_every_option_in_a_message_of_a_command_is_one_of_its_own() -> None:
    found = {
        path.stem: words
        for path in CLI.glob("*.py")
        if path.stem != "__init__"
        if (words := sorted({word for text in texts(path) for word in wrong(text, of_module(path))}))
    }
    assert found == {}


def test_the_rule_sees_what_it_is_for() -> None:
    serve = of_module(CLI / "serve.py")
    assert "--grpc-port" in serve
    assert list(wrong("choose another with --host or --port", of_module(CLI / "demo.py"))) == ["--host"]
    assert list(wrong("  {program} export x --to y --port 1", serve)) == ["--port"]
    assert "--guard" in of_module(CLI / "guarded.py")
    assert [text for text in texts(CLI / "demo.py") if "choose another with --port" in text]


def test_no_message_of_what_several_commands_share_names_an_option() -> None:
    """Which commands come by there changes; each passes on its own advice, such as ``process.Advice``."""
    others = [path for path in SOURCE.rglob("*.py") if CLI not in path.parents]
    found = {
        str(path.relative_to(SOURCE)): words
        for path in others
        if (words := sorted({word for text in texts(path) for word in wrong(text, set())}))
    }
    assert found == {}


def test_the_options_that_scripts_of_powershell_give_are_those_of_the_demo() -> None:
    script = (SOURCE.parent / "examples" / "powershell" / "Start-Demo.ps1").read_text()
    given = set(re.findall(r"'(--[a-z-]+)'", script.partition("'demo'")[2]))
    assert given == {"--rows", "--port", "--check"}
    assert given <= options(BY_NAME["demo"])


def test_every_command_of_the_table_is_there() -> None:
    for place in COMMANDS.values():
        module, name = place.split(":")
        assert isinstance(getattr(importlib.import_module(module), name), click.Command)

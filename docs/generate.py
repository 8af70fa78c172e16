"""The tables of the reference, generated from the code.

    python docs/generate.py            write them into the marked sections of docs/
    python docs/generate.py --check    fail if a section is out of date

A section begins with ``<!-- generated: NAME -->`` and ends with ``<!-- end of NAME -->``; NAME is a key of SECTIONS.
"""

from __future__ import annotations

import ast
import dataclasses
import logging
import re
import sys
import tempfile
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import click
from pydantic import BaseModel, SecretStr

from fluxport import config, config_sources, errors, sinks
from fluxport.cli import root
from fluxport.findings import SENTENCES
from fluxport.formats import FORMATS, Format, media_type, options_class
from fluxport.formats.compress import COMPRESSIONS, Compression
from fluxport.formats.options import PROFILES, CommonOptions
from fluxport.jobs.states import TRANSITIONS
from fluxport.policy.guard.postgres.words import REFUSED_FUNCTIONS as POSTGRESQL_REFUSED
from fluxport.policy.guard.words import REFUSED_FUNCTIONS, Dialect
from fluxport.settings import Read, Secret
from fluxport.sources import SOURCES as DATABASES
from fluxport.sources import SourceEntry
from fluxport.sources.table import schemes_of
from fluxport.telemetry.events import EVENTS

DOCS = Path(__file__).resolve().parent
SOURCES = [DOCS.parent / "src" / package for package in ("fluxport", "fluxport_emulator")]
SENTENCES_MAX = 3  # of one error code in its table; the rest are variants of the same message


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [list(row) for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def prose(text: str) -> str:
    """Plain text as a cell of a Markdown table."""
    return re.sub(r"([\\|<*\[\]])", r"\\\1", re.sub(r"\s+", " ", text)).strip()


def code(text: str) -> str:
    """Text as a code span in a table, where a bar must be escaped even there; empty text stays empty."""
    mark = "``" if "`" in text else "`"
    return f"{mark}{text}{mark}".replace("|", "\\|") if text else ""


# -- command line ------------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that is not a group, by its full name."""

    def below(name: str, command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
        if not isinstance(command, click.Group):
            yield name, command
            return
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            assert inner is not None
            yield from below(f"{name} {word}", inner, click.Context(inner, parent=context, info_name=word))

    yield from below("fluxport", root, click.Context(root, info_name="fluxport"))


def command_line() -> str:
    return "\n\n".join(_command(name, command) for name, command in commands())


def _command(name: str, command: click.Command) -> str:
    arguments = " ".join(
        p.make_metavar(click.Context(command)) for p in command.params if isinstance(p, click.Argument)
    )
    parts = [f"### `{name}`", prose(command.help or ""), f"```text\n{name} [OPTIONS] {arguments}".rstrip() + "\n```"]
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    if options:
        parts.append(table(["option", "value", "default", "what it does"], map(_option, options)))
    return "\n\n".join(parts)


def _option(option: click.Option) -> list[str]:
    names = ", ".join(map(code, [*option.opts, *option.secondary_opts]))
    value = "" if option.is_flag else code(option.metavar or option.type.name.removesuffix(" range"))
    about = prose(option.help or "")
    if option.envvar:
        about += f" Environment: {code(str(option.envvar))}."
    return [names, value, "required" if option.required else code(_default(option)), about]


def _default(option: click.Option) -> str:
    if option.is_flag:
        return option.opts[0] if option.secondary_opts and option.default else ""
    return str(option.default) if isinstance(option.default, str | int | float) else ""


# -- configuration -----------------------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """``name`` is dotted, ``<name>`` in it is a placeholder for a name that the user chooses."""

    name: str
    kind: str
    default: str
    about: str
    also: tuple[str, ...] = ()  # environment variables of this setting alone, where several settings share its name


def settings(model: type[BaseModel] = config.Config, prefix: str = "") -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        if _sink_of(field.annotation) is not None:
            yield from sink_settings(f"{prefix}{name}.<name>.")
            continue
        inner = _models_in(field.annotation)
        if inner:
            named = typing.get_origin(field.annotation) is dict
            yield from settings(inner[0], f"{prefix}{name}." + ("<name>." if named else ""))
            continue
        default = "required" if field.is_required() else code(_plain(field.default))
        yield Setting(prefix + name, _kind(field.annotation, field.metadata), default, field.description or "")


def sink_settings(prefix: str) -> Iterator[Setting]:
    """The settings of every type of store; one that several types share appears once, with their names."""
    where = "; ".join(f"{name}: {entry.label}" for name, entry in sinks.SINKS.built_in.items())
    kinds = " or ".join(map(code, sinks.SINKS.built_in))
    yield Setting(f"{prefix}type", kinds, code(config.SINK.default), f"where files are stored; {where}")
    types: dict[Setting, list[str]] = {}
    for name in sinks.SINKS.built_in:
        for setting in dataclass_settings(sinks.options_class(name), prefix):
            types.setdefault(setting, []).append(name)
    for setting, names in types.items():
        of = "" if len(names) == len(sinks.SINKS.built_in) else f"{', '.join(names)}: "
        key = setting.name.removeprefix(prefix)
        also = tuple(v for n in names for v, meant in config_sources.sink_environment(n).items() if meant == key)
        yield setting._replace(about=of + setting.about, also=also)


def dataclass_settings(cls: type[Any], prefix: str) -> Iterator[Setting]:
    known = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        if field.name != "type":
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            default = "" if field.default is dataclasses.MISSING else code(_plain(field.default))
            about = field.metadata["description"]
            yield Setting(prefix + field.name, _kind(known[field.name], ()), "required" if required else default, about)


def _sink_of(annotation: Any) -> config.ByType | None:
    """The rule that selects the class of a setting, if it is one of several."""
    for argument in typing.get_args(annotation):
        for mark in getattr(argument, "__metadata__", ()):
            if isinstance(mark, config.ByType):
                return mark
    return None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    candidates = [annotation, *typing.get_args(annotation)]
    return [a for a in candidates if isinstance(a, type) and issubclass(a, BaseModel)]


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _kind(annotation: Any, metadata: Iterable[Any]) -> str:
    if kind := next((m.name for m in metadata if isinstance(m, Read) and m.name), ""):
        return kind
    words = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true or false",
        Path: "path",
        SecretStr: "secret",
        Secret: "secret",
    }
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0], annotation.__metadata__)
    if annotation in words:
        return words[annotation]
    if origin is Literal:
        return " or ".join(code(str(a)) for a in arguments)
    if origin is dict:
        return "mapping"
    if origin is list:
        return f"list of {_kind(arguments[0], ())}"
    if origin in (types.UnionType, typing.Union):
        return _kind(next(a for a in arguments if a is not types.NoneType), ())
    return str(annotation)


def configuration() -> str:
    aliases: dict[str, list[str]] = {}
    for alias, wheres in old_names():
        for where in wheres:
            aliases.setdefault(".".join(where), []).append(alias)

    def row(setting: Setting) -> list[str]:
        known = [name for key, names in aliases.items() if _same(key, setting.name) for name in names]
        also = [*known, *setting.also]
        return [code(setting.name), setting.kind, setting.default, ", ".join(map(code, also)), prose(setting.about)]

    return table(["setting", "takes", "default", "old name", "meaning"], map(row, settings()))


def _same(name: str, described: str) -> bool:
    pattern = re.escape(described).replace(re.escape("<name>"), "[^.]+")
    return re.fullmatch(pattern, name) is not None


def old_names() -> Iterator[tuple[str, tuple[tuple[str, ...], ...]]]:
    """The variables of the replaced services, and the settings that each sets."""
    yield from ((name, (where,)) for name, where in config_sources.ALIASES.items())
    yield from config_sources.DERIVED.items()


def environment(names: Iterable[str]) -> str:
    def row(name: str, wheres: tuple[tuple[str, ...], ...]) -> list[str]:
        return [code(name), ", ".join(code(".".join(where)) for where in wheres)]

    return table(["variable", "setting"], (row(*pair) for pair in old_names() if pair[0] in names))


def sink_table() -> str:
    def row(name: str, entry: sinks.SinkEntry) -> list[str]:
        urls = ", ".join(code(f"{scheme}://bucket/key") for scheme in entry.schemes)
        names = ", ".join(map(code, config_sources.sink_environment(name)))
        package = code(f"fluxport[{entry.extra}]") if entry.extra else ""
        return [code(name), entry.label, urls, package, names]

    head = ["type", "where files are stored", "as a URL", "package", "variables of the store `local`"]
    return table(head, (row(*item) for item in sinks.SINKS.built_in.items()))


# -- HTTP --------------------------------------------------------------------------------------------------------------


def openapi() -> dict[str, Any]:
    """The service's own description, without listening on a port or querying a database."""
    from fluxport import wiring

    with tempfile.TemporaryDirectory() as folder:
        flags = {
            "connections.main.url": "mysql://nobody@127.0.0.1/nothing",
            "database": f"sqlite:///{folder}/fluxport.db",
            "stores.local.path": folder,
        }
        service = wiring.service(config.load(environ={}, folder=Path(folder), flags=flags))
        try:
            return service.app.openapi()
        finally:
            service.close()


def routes() -> str:
    rows = (
        [code(f"{method.upper()} {path}"), prose(_sentence(operation.get("summary", "")))]
        for path, methods in openapi()["paths"].items()
        for method, operation in methods.items()
    )
    return table(["route", "answers"], rows)


def _sentence(text: str) -> str:
    return text[:1].lower() + text[1:] if text else ""


# -- sources -----------------------------------------------------------------------------------------------------------


def source_table() -> str:
    def row(name: str, entry: SourceEntry) -> list[str]:
        schemes = ", ".join(code(f"{scheme}://") for scheme in schemes_of(name, entry))
        checked = "yes" if entry.account else "no"
        guard = code(entry.guard) if entry.guard else "none: datasets only"
        return [entry.label, schemes, code(entry.example), guard, code(entry.dialect or ""), checked]

    head = ["database", "schemes", "URL", "dialect of the guard", "dialect of datasets", "account checked"]
    return table(head, (row(*item) for item in DATABASES.built_in.items()))


# -- formats -----------------------------------------------------------------------------------------------------------


def format_table() -> str:
    def row(name: str, entry: Format) -> list[str]:
        kind = media_type(name, options_class(name)())
        return [code(name), ", ".join(map(code, entry.aliases)), ", ".join(map(code, entry.suffixes)), code(kind)]

    head = ["format", "also called", "file names", "media type"]
    return table(head, (row(*item) for item in FORMATS.built_in.items()))


def compression_table() -> str:
    def row(name: str, entry: Compression) -> list[str]:
        return [code(name), ", ".join(map(code, entry.aliases)), code(entry.suffix), code(entry.media_type or "")]

    head = ["compression", "also called", "suffix", "media type"]
    return table(head, (row(*item) for item in COMPRESSIONS.built_in.items()))


def option_rows(cls: type[CommonOptions], *, inherited: bool) -> Iterator[list[str]]:
    """The options of ``cls``; those that every format has only if ``inherited``."""
    common = {f.name for f in dataclasses.fields(CommonOptions)}
    known = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if inherited or field.name not in common:
            takes = "list of columns" if field.name == "columns" else _kind(known[field.name], ())
            yield [code(field.name), takes, code(_plain(field.default)), field.metadata["description"]]


OPTION_HEAD = ["option", "takes", "default", "meaning"]


def common_options() -> str:
    return table(OPTION_HEAD, option_rows(CommonOptions, inherited=True))


def own_options() -> str:
    """One table for formats that share a class of options."""
    classes: dict[type[CommonOptions], list[str]] = {}
    for name in FORMATS.built_in:
        classes.setdefault(options_class(name), []).append(name)
    parts = []
    for cls, names in classes.items():
        rows = option_rows(cls, inherited=False)
        parts.append(f"### {', '.join(map(code, names))}\n\n{table(OPTION_HEAD, rows)}")
    return "\n\n".join(parts)


def profiles() -> str:
    names = list(dict.fromkeys(option for given in PROFILES.values() for option in given))
    rows = [[code(p), *(code(_plain(given.get(n))) for n in names)] for p, given in PROFILES.items()]
    return table(["profile", *map(code, names)], rows)


# -- errors and warnings -----------------------------------------------------------------------------------------------


class Raised(NamedTuple):
    """One place that raises: its code, the class of the error, the message with ``…`` for each placeholder."""

    code: str
    family: type[errors.FluxportError]
    sentence: str
    place: str


FAMILIES: dict[str, type[errors.FluxportError]] = {
    name: cls for name, cls in vars(errors).items() if isinstance(cls, type) and issubclass(cls, errors.FluxportError)
}
# Responses without an error class of ours: http/responses.py builds them.
HTTP_CODES: dict[str, tuple[int, str]] = {
    "internal": (500, "The service failed with an internal error; see its log for this request's id."),
    "method_not_allowed": (405, "This address does not support this method."),
    "http_error": (400, "The request failed before it reached an API."),
}


def raised() -> list[Raised]:
    """Every error that the source raises on purpose, in the order of the files."""
    places: list[Raised] = []
    for path in sorted(path for source in SOURCES for path in source.rglob("*.py") if "testing" not in path.parts):
        if path != SOURCES[0] / "errors.py":
            places += _raised_in(ast.parse(path.read_text()), str(path.relative_to(DOCS.parent)))
    return places + list(_from_tables())


def _raised_in(tree: ast.Module, place: str) -> Iterator[Raised]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        where = f"{place}:{node.lineno}"
        first = _text(node.args[0])
        if called in FAMILIES:
            given = next((k.value for k in node.keywords if k.arg == "code"), None)
            if given is None:
                yield Raised(FAMILIES[called].default_code, FAMILIES[called], first, where)
            elif isinstance(given, ast.Constant):
                yield Raised(str(given.value), FAMILIES[called], first, where)
        elif called in ("refuse", "_phrases") and len(node.args) > 1 and isinstance(node.args[0], ast.Constant):
            yield Raised(first, errors.QueryRefused, _text(node.args[1]), where)


def _text(node: ast.expr) -> str:
    """A string of the source, with ``…`` for each placeholder of an f-string."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return "…"


def _from_tables() -> Iterator[Raised]:
    from fluxport import database_errors
    from fluxport.policy.guard import lexer
    from fluxport.sources.mysql import servererrors
    from fluxport.sources.postgres import sqlstate
    from fluxport.sources.sqlite import errors as sqlite_errors

    for module in (servererrors, sqlstate, sqlite_errors):
        place = str(Path(module.__file__ or "").relative_to(DOCS.parent))
        for family, rows in ((errors.QueryFailed, module._REJECTED), (errors.Unavailable, module._TRANSIENT)):
            for name, sentence in rows.values():
                actual = errors.TimedOut if name == "deadline" else family
                number = "state" if module is sqlstate else "error"
                yield Raised(name, actual, f"{sentence} ({number} …).", place)
    for text in database_errors._TRANSIENT.values():
        yield Raised(database_errors.AWAY, errors.Unavailable, text, "src/fluxport/database_errors.py")
    for text in database_errors._STAYING.values():
        yield Raised(database_errors.UNUSABLE, errors.Broken, text, "src/fluxport/database_errors.py")
    for _, name, sentence in lexer._STRAY:
        yield Raised(name, errors.QueryRefused, sentence, "src/fluxport/policy/guard/lexer.py")


def families() -> str:
    def row(name: str, cls: type[errors.FluxportError]) -> list[str]:
        base = cls.__mro__[1].__name__
        retried = "yes" if cls.retryable else "no"
        parent = code(base) if base in FAMILIES else ""
        edges = [str(cls.status), code(cls.grpc_status), code(cls.flight_error), str(cls.exit_code)]
        return [code(name), parent, code(cls.default_code), *edges, retried]

    head = ["family", "kind of", "code unless one is given", "HTTP", "gRPC", "Flight", "exit", "retryable"]
    return table(head, (row(*item) for item in FAMILIES.items()))


def error_codes() -> str:
    """One row per code and family; a code has one meaning wherever it is raised."""
    grouped: dict[tuple[str, type[errors.FluxportError]], list[str]] = {}
    for item in raised():
        sentences = grouped.setdefault((item.code, item.family), [])
        if item.sentence not in sentences and item.sentence.strip("… ."):
            sentences.append(item.sentence)

    def rows() -> Iterator[list[str]]:
        for (name, family), sentences in grouped.items():
            retried = "yes" if family.retryable else "no"
            message = " / ".join(sorted(sentences)[:SENTENCES_MAX])
            yield [code(name), str(family.status), str(family.exit_code), retried, prose(message)]
        for name, (status, sentence) in HTTP_CODES.items():
            yield [code(name), str(status), "", "no", sentence]

    head = ["code", "HTTP", "exit", "retry", "message"]
    return table(head, sorted(rows()))


def warnings() -> str:
    return table(["code", "what was changed"], ([code(name), prose(text)] for name, text in SENTENCES.items()))


def refused_functions() -> str:
    """The functions of each database that the guard knows and refuses, by reason."""
    shown: dict[Dialect, str] = {"mysql": "MySQL, MariaDB", "sqlite": "SQLite"}

    def rows() -> Iterator[list[str]]:
        known = [(database, REFUSED_FUNCTIONS[dialect]) for dialect, database in shown.items()]
        for database, refused in (*known, ("PostgreSQL", POSTGRESQL_REFUSED)):
            reasons: dict[str, list[str]] = {}
            for function, reason in refused.items():
                reasons.setdefault(reason, []).append(code(function))
            for reason, functions in reasons.items():
                yield [database, ", ".join(functions), prose(reason)]

    return table(["database", "functions", "each"], rows())


# -- architecture ------------------------------------------------------------------------------------------------------


def layers() -> str:
    """The packages from the top down; those on one line do not import each other."""
    contracts = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["type"] == "layers")
    return "\n".join(["```text", *(layer.replace("fluxport.", "") for layer in contract["layers"]), "```"])


def states() -> str:
    arrows = [f"    {before} --> {after}" for before, following in TRANSITIONS.items() for after in following]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> queued", *arrows, "```"])


def log_events() -> str:
    rows = [
        [
            code(name),
            logging.getLevelName(event.level).lower(),
            code(event.component),
            "no" if event.ours else "yes",
            prose(event.about),
        ]
        for name, event in EVENTS.items()
    ]
    return table(["`event`", "level", "`component`", "of the middleware", "is logged when"], rows)


SECTIONS: dict[str, Callable[[], str]] = {
    "log events": log_events,
    "layers": layers,
    "states": states,
    "command line": command_line,
    "configuration": configuration,
    "environment of FluxQuery": lambda: environment(config_sources.FLUXQUERY),
    "environment of the Historian": lambda: environment(config_sources.HISTORIAN | config_sources.DERIVED),
    "sinks": sink_table,
    "sources": source_table,
    "routes": routes,
    "formats": format_table,
    "compression": compression_table,
    "common options": common_options,
    "own options": own_options,
    "profiles": profiles,
    "error families": families,
    "error codes": error_codes,
    "warnings": warnings,
    "refused functions": refused_functions,
}
_SECTION = re.compile(r"(<!-- generated: (?P<name>.+?) -->\n).*?(<!-- end of (?P=name) -->)", re.DOTALL)


def rewritten(text: str) -> str:
    """``text`` with each of its sections regenerated."""
    return _SECTION.sub(lambda m: f"{m[1]}\n{SECTIONS[m['name']]()}\n\n{m[3]}", text)


def main(check: bool) -> int:
    stale = []
    for path in sorted(DOCS.rglob("*.md")):
        before = path.read_text()
        if (after := rewritten(before)) != before:
            stale.append(path)
            if not check:
                path.write_text(after)
    for path in stale:
        print(f"{path.relative_to(DOCS.parent)}: {'stale; run python docs/generate.py' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))

"""Where settings come from: the YAML file, ``.env``, the environment and flags, put together with every problem.

Nothing stops at the first problem: what cannot be read is recorded as an error, and the rest is read nevertheless. The
names of the replaced services are read beside our own; ``Gathered.origins`` remembers them for messages.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fluxport import sinks
from fluxport.errors import Refused
from fluxport.middleware_config import EVERYWHERE, Translation, is_middleware, translated
from fluxport.references import expanded

Where = tuple[str, ...]

# The variables of FluxQuery's deployments, of the Export queue's and of the export middleware's, and the settings that
# they set.
FLUXQUERY: dict[str, Where] = {
    "APP_ENV": ("app_env",),
    "FLUXPORT_DATABASE": ("database",),
    "SERVER_PORT": ("server", "port"),
    "MYSQL_DSN": ("connections", "main", "url"),
    "LOCAL_STORAGE_PATH": ("stores", "local", "path"),
    "STORAGE_TYPE": ("stores", "local", "type"),
    "API_SECRET": ("auth", "api_secret"),
    "COMPRESSION": ("compression",),
    "WORKER_COUNT": ("limits", "workers"),
    "MAX_DB_CONCURRENCY": ("connections", "main", "queries_max"),
    "DEFAULT_TIMEOUT": ("limits", "export_s"),
    "LOG_LEVEL": ("logging", "level"),
    "SMTP_HOST": ("email", "host"),
    "SMTP_PORT": ("email", "port"),
    "SMTP_USER": ("email", "user"),
    "SMTP_PASS": ("email", "password"),
    "SMTP_FROM": ("email", "sender"),
    "EMAIL_ATTACH_FILE": ("email", "attach"),
    "ENABLE_EXPORT_QUEUE": ("export_queue", "enabled"),
    "ENABLE_PERSIST_EXPORT": ("export_queue", "persist"),
}
# Those of the Historian.
HISTORIAN: dict[str, Where] = {
    "NATS_URL": ("series", "nats", "url"),
    "NATS_SUBJECT": ("series", "nats", "subject"),
}
ALIASES = HISTORIAN | FLUXQUERY  # for a setting that both have a variable for, FluxQuery's comes last, and overrides
# Variables of the Historian that set only what nothing else sets: they have another form than the settings, or a name
# that other programs use as well.
DERIVED: dict[str, tuple[Where, ...]] = {
    "HTTP_PORT": (("server", "port"),),
    "GRPC_ADDR": (("grpc", "host"), ("grpc", "port"), ("server", "host")),
    "DB_PATH": (("series", "path"),),
}
# By each of these it is recognized; NATS_URL may be set for other programs.
_HISTORIANS_OWN = ("HTTP_PORT", "GRPC_ADDR", "DB_PATH", "NATS_SUBJECT")
_HISTORIANS_GRPC_ADDR = "0.0.0.0:50051"  # where it listened without GRPC_ADDR
# Of the variables of a store, those that only the replaced services had; others may be set for other programs.
_OWN_STORE_VARIABLES = ("S3_", "OSS_")
FLUXQUERY_ATTACHMENT_BYTES = 25 << 20  # of the file; its encoded mail has 34 MiB
_WORDS = frozenset({"APP_ENV", "STORAGE_TYPE"})  # case-insensitive
_SHORT = {"prod": "production", "dev": "development"}
_PREFIX = "FLUXPORT_"


@dataclass
class Gathered:
    """``values`` are the settings. ``origins`` has the old name, with its value if that is a number, of each setting
    that an old name has set. ``problems`` are errors; ``ignored`` are sentences about old names without a meaning.
    ``incomplete``: a source could not be read, so that settings may be missing. ``partial``: sections that only limits
    of the old names have set, and that are left out once those are checked."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Where, str] = field(default_factory=dict)
    problems: list[Refused] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    stores_in_file: Any = None
    incomplete: bool = False
    partial: set[Where] = field(default_factory=set)

    def problem(self, sentence: str) -> None:
        self.problems.append(Refused(sentence, code="bad_configuration"))

    def put(self, where: Where, value: Any, origin: str = "") -> None:
        """Set one setting, over what is there; a mapping is merged with the mapping that is there."""
        for known in [known for known in self.origins if known[: len(where)] == where]:
            del self.origins[known]
        if origin:
            self.origins[where] = origin
        target = self.values
        for part in where[:-1]:
            if target.get(part) is None:
                target[part] = {}
            if not isinstance(target[part], dict):
                self.problem(f"Setting {'.'.join(where)!r}: {part!r} is not a section.")
                return
            target = target[part]
        if isinstance(value, dict) and isinstance(target.get(where[-1]), dict):
            for key, inner in value.items():
                self.put((*where, str(key)), inner)
        else:
            target[where[-1]] = value

    def get(self, *where: str) -> Any:
        """The setting, or None."""
        found: Any = self.values
        for part in where:
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


def gather(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any], folder: Path) -> Gathered:
    """The settings of all sources; each overrides those before it: the file at ``path`` (default: ``fluxport.yaml`` in
    ``folder``, if it exists), ``.env`` in ``folder``, ``environ``, and ``flags`` by dotted name, where None is unset.
    """
    gathered = Gathered()
    from_dotenv = _dotenv(gathered, folder / ".env")
    every = from_dotenv | {name: value for name, value in environ.items() if value}
    default_path = folder / "fluxport.yaml"
    if path is not None or default_path.exists():
        _file(gathered, path or default_path, every)
    gathered.stores_in_file = copy.deepcopy(gathered.values.get("stores"))
    kind = _store_type(gathered, every)
    store_variables = _store_variables(gathered, every, kind)
    for variables in (from_dotenv, environ):
        _variables(gathered, variables, kind, store_variables)
    for name, value in flags.items():
        if value is not None:
            gathered.put(tuple(name.split(".")), value)
    _derive_addresses(gathered, every)
    _derive_path(gathered, every)
    _derive_nats(gathered, every)
    _derive_attachments(gathered, every)
    _leave_out(gathered, every, kind)
    if isinstance(gathered.values.get("stores"), dict):
        gathered.values["stores"].setdefault("local", {})
    return gathered


def sink_environment(kind: str) -> Mapping[str, str]:
    """The variables that configure the default store if it has this type; others ignore them."""
    return sinks.options_class(kind).environ if kind in sinks.SINKS else {}


# -- files -------------------------------------------------------------------------------------------------------------


def _text(gathered: Gathered, path: Path, name: str) -> str | None:
    try:
        return path.read_text("utf-8-sig")  # editors of Windows begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        gathered.problem(f"{name} cannot be read: {reason}.")
        gathered.incomplete = True
        return None


def _dotenv(gathered: Gathered, path: Path) -> dict[str, str]:
    if not path.exists() or path.is_dir() or (text := _text(gathered, path, f"The file {path}")) is None:
        return {}
    import io

    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value is not None}


def _file(gathered: Gathered, path: Path, environ: Mapping[str, str]) -> None:
    name = f"The configuration {path}"
    settings = None
    if (text := _text(gathered, path, name)) is not None:
        try:
            settings = _read_yaml(text, name)
        except Refused as refused:
            gathered.problems.append(refused)
            gathered.incomplete = True
    if not isinstance(settings, dict | None):
        gathered.problem(f"{name} must be a mapping of sections.")
        gathered.incomplete = True
        return
    if not (settings and is_middleware(settings)):
        gathered.values = _expanded(gathered, settings or {}, environ, ())
        return
    translation = translated(settings)
    gathered.values, gathered.origins = translation.settings, translation.origins
    _report(gathered, f"{path} is a file of the export middleware", translation)


# Sections with SQL of the operator, in which ``${`` means nothing to us.
_VERBATIM = frozenset({("datasets",), ("schedules",)})


def _expanded(gathered: Gathered, value: Any, environ: Mapping[str, str], where: Where) -> Any:
    """``value`` with the references in its texts replaced; a reference without a value is a problem."""
    if where in _VERBATIM:
        return value
    if isinstance(value, dict):
        return {key: _expanded(gathered, inner, environ, (*where, str(key))) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(gathered, inner, environ, (*where, str(index))) for index, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        return expanded(value, environ)
    except Refused as refused:
        gathered.problem(f"Setting {'.'.join(where)!r} is invalid: {refused.message[:1].lower()}{refused.message[1:]}")
        gathered.incomplete = True
        return value


def _report(gathered: Gathered, name: str, translation: Translation) -> None:
    for sentence in translation.problems:
        gathered.problem(sentence)
    if translation.ignored:
        gathered.ignored.append(f"{name}; ignored: {'; '.join(translation.ignored)}")


class _DuplicateKey(Exception):
    def __init__(self, key: yaml.Node) -> None:
        self.key = key


class _Loader(yaml.SafeLoader):
    """Raises if a mapping has a key twice; the standard loader ignores the first value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value != "<<" and isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise _DuplicateKey(key)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _read_yaml(text: str, name: str) -> Any:
    """The parsed YAML; Refused with the position, without the parser's message, which quotes the text."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506  a SafeLoader
    except _DuplicateKey as duplicate:
        line = duplicate.key.start_mark.line + 1
        raise Refused(f"{name} has {duplicate.key.value!r} twice, at line {line}.", code="bad_configuration") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        raise Refused(f"{name} is not valid YAML{place}.", code="bad_configuration") from None


# -- variables ---------------------------------------------------------------------------------------------------------


def _store_type(gathered: Gathered, environ: Mapping[str, str]) -> str:
    """The default store's type; the export middleware had only one type, and so no variable for it."""
    in_file = str(gathered.get("stores", "local", "type") or "local")
    return environ.get("STORAGE_TYPE", "").lower() or ("oss" if environ.get("OSS_BUCKET") else in_file)


def _store_variables(gathered: Gathered, environ: Mapping[str, str], kind: str) -> Mapping[str, str]:
    """The variables that apply to the default store, each with its setting. A store whose type is in the file gets from
    variables that may be set for other programs, such as AWS_REGION, only what the file leaves out."""
    variables = sink_environment(kind)
    if environ.get("STORAGE_TYPE"):
        return variables
    return {
        name: key
        for name, key in variables.items()
        if name.startswith(_OWN_STORE_VARIABLES) or gathered.get("stores", "local", key) in (None, "")
    }


def _variables(gathered: Gathered, environ: Mapping[str, str], kind: str, store_variables: Mapping[str, str]) -> None:
    for name, where in ALIASES.items():
        if value := environ.get(name):
            word = value.lower() if name in _WORDS else value
            gathered.put(where, _SHORT.get(word, word) if name == "APP_ENV" else word, named(name, value))
    for name, key in store_variables.items():
        if value := environ.get(name):
            if gathered.get("stores", "local", "type") != kind:
                gathered.put(("stores", "local", "type"), kind)
            gathered.put(("stores", "local", key), value, named(name, value))
    for name, value in sorted(environ.items()):
        if name.startswith(_PREFIX) and "__" in name:
            where = tuple(part.lower() for part in name.removeprefix(_PREFIX).split("__"))
            try:
                gathered.put(where, _structured(name, value))
            except Refused as refused:
                gathered.problems.append(refused)


def named(name: str, value: str) -> str:
    """The variable for a message, with its value only if that is a number or a duration: others may be secret."""
    return f"{name}={value}" if re.fullmatch(r"[+-]?[0-9.]+[a-zµμ]{0,2}", value) else name


def _structured(name: str, value: str) -> Any:
    """Lists and mappings may be written as YAML flow text; everything else stays text for the model to parse."""
    return _read_yaml(value, f"The environment's {name}") if value[:1] in ("[", "{") else value


def _put_unset(gathered: Gathered, where: Where, value: str, origin: str) -> None:
    if gathered.get(*where) is None:
        gathered.put(where, value, origin)


def _derive_addresses(gathered: Gathered, environ: Mapping[str, str]) -> None:
    """Where a variable that only the Historian had is set, both servers listen where its did, unless other settings say
    otherwise."""
    own = next((name for name in _HISTORIANS_OWN if environ.get(name)), None)
    if own is None:
        return
    if port_of_http := environ.get("HTTP_PORT"):
        _put_unset(gathered, ("server", "port"), port_of_http, named("HTTP_PORT", port_of_http))
    given = environ.get("GRPC_ADDR")
    host, colon, port = (given or _HISTORIANS_GRPC_ADDR).rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port):
        gathered.problem("GRPC_ADDR must be host:port, such as 0.0.0.0:50051.")
        return
    listen = host.strip("[]") or EVERYWHERE  # as Go reads an address without a host
    origin = "GRPC_ADDR" if given else own
    # Its HTTP server listened on every address, whatever GRPC_ADDR was.
    _put_unset(gathered, ("server", "host"), listen if listen == "::" else EVERYWHERE, origin)
    other_port = gathered.get("grpc", "port")
    _put_unset(gathered, ("grpc", "host"), listen, origin)
    _put_unset(gathered, ("grpc", "port"), port, origin)
    more = gathered.get("grpc", "addresses")
    if given and other_port is not None and str(other_port) != port and isinstance(more, list | None):
        gathered.put(("grpc", "addresses"), [*(more or []), f"{host or listen}:{port}"], origin)


def _derive_path(gathered: Gathered, environ: Mapping[str, str]) -> None:
    unset = gathered.get("series", "path") is None and gathered.get("series", "connection") is None
    if (folder := environ.get("DB_PATH")) and unset:
        gathered.put(("series", "path"), str(Path(folder) / "series.db"), "DB_PATH")
        try:
            gathered.ignored += _old_points(Path(folder))
        except OSError as error:
            gathered.problem(f"The folder {folder!r} of DB_PATH cannot be read: {error.strerror}.")


def _derive_nats(gathered: Gathered, environ: Mapping[str, str]) -> None:
    """Where the Historian's variables name the server or the subject, messages are the Historian's. A server that only
    NATS_URL names may be another program's: without a place for points, it is not read."""
    names = [name for name in ("NATS_URL", "NATS_SUBJECT") if environ.get(name)]
    if not names:
        return
    from fluxport.series.bodies import HISTORIAN_SUBJECT, PROTOBUF

    url = ("series", "nats", "url")
    only_here = gathered.get(*url) is not None and gathered.origins.get(url, "").startswith("NATS_URL")
    if only_here and gathered.get("series", "path") is None:
        del gathered.get(*url[:-1])[url[-1]]
        gathered.ignored.append(f"{' and '.join(names)}: points are read only with DB_PATH or series.path")
        return
    if "NATS_SUBJECT" in names and gathered.get(*url) is None:
        gathered.ignored.append("NATS_SUBJECT has no effect without NATS_URL")
    if "NATS_URL" in names and gathered.get("series", "nats", "subject") is None:
        gathered.put(("series", "nats", "subject"), HISTORIAN_SUBJECT, "NATS_URL")
    if "NATS_SUBJECT" in names and gathered.get("series", "nats", "type") is None:
        gathered.put(("series", "nats", "type"), PROTOBUF, "NATS_SUBJECT")


def _derive_attachments(gathered: Gathered, environ: Mapping[str, str]) -> None:
    """Where FluxQuery's variable asks for attachments, they may be as large as FluxQuery's."""
    if environ.get("EMAIL_ATTACH_FILE") and gathered.get("email", "attachment_max_bytes") is None:
        gathered.put(("email", "attachment_max_bytes"), FLUXQUERY_ATTACHMENT_BYTES)


def _old_points(folder: Path) -> Iterator[str]:
    """A sentence, if the folder has files of the Historian's engine."""
    if folder.is_dir() and any(not entry.name.startswith("series.db") for entry in folder.iterdir()):
        yield f"the files in DB_PATH ({folder}) are the Historian's own; points are stored beside them, in series.db"


def _leave_out(gathered: Gathered, environ: Mapping[str, str], kind: str) -> None:
    """Report variables that have no effect without another one."""
    where = ("connections", "main")
    main = gathered.get(*where)
    if main and isinstance(main, dict) and "url" not in main and all((*where, key) in gathered.origins for key in main):
        gathered.partial.add(where)
        gathered.ignored += [
            f"{gathered.origins[(*where, key)]} is for the connection of MYSQL_DSN, which is not set" for key in main
        ]
    keys = [name for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY") if environ.get(name)]
    if keys and kind != "s3":
        gathered.ignored.append(f"{' and '.join(keys)}: only a store of STORAGE_TYPE=s3 uses them")

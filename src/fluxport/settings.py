"""How a package declares its settings: a frozen dataclass whose fields are created by :func:`setting`.

The dataclass is both the configuration that pydantic reads from YAML and the environment, and the options object that
the code receives. Pydantic is imported only to validate values, so that a command without a configuration does not load
it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from fluxport import durations
from fluxport.errors import Refused
from fluxport.headers import web_address
from fluxport.plugins import Table

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

S = TypeVar("S")


def setting(default: Any = dataclasses.MISSING, *, description: str, **bounds: Any) -> Any:
    """A field of a settings dataclass; required without ``default``. ``bounds`` are passed to ``pydantic.Field``."""
    metadata = {"description": description, **bounds}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Secret:
    """Text that is masked wherever it is shown; ``value`` is the text."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def read(value: Any) -> Any:
            return value if isinstance(value, cls) else cls(strings.validate_python(value))

        from pydantic import TypeAdapter

        strings = TypeAdapter(str)
        masked = core_schema.plain_serializer_function_ser_schema(lambda secret: "**********" if secret.value else "")
        return core_schema.no_info_plain_validator_function(read, serialization=masked)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "format": "password", "writeOnly": True}


class Read:
    """Metadata of an annotation: ``convert`` is applied to a value before its type is validated, ``check`` after.

    ``name`` is the type's name in the reference, if that is clearer than its own.
    """

    def __init__(
        self,
        convert: Callable[[Any], Any] | None = None,
        check: Callable[[Any], Any] | None = None,
        name: str = "",
    ) -> None:
        self.convert, self.check, self.name = convert, check, name

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        schema = handler(source)
        if self.convert is not None:
            schema = core_schema.no_info_before_validator_function(self.convert, schema)
        if self.check is not None:
            schema = core_schema.no_info_after_validator_function(self.check, schema)
        return schema


def _duration(value: Any) -> Any:
    return durations.seconds(value) if isinstance(value, str) else value


def _web_address(value: str | None) -> str | None:
    if value is not None and web_address(value) is None:
        raise ValueError("an address is written https://exports.example.com or http://10.0.0.1:8080")
    return value


def _endpoint(value: str | None) -> str | None:
    """A web address; that of an OSS store may omit the scheme."""
    _web_address(value if value is None or "://" in value else f"https://{value}")
    return value


DURATION = Read(convert=_duration, name="duration")
Duration: TypeAlias = Annotated[float, DURATION]
WebAddress: TypeAlias = Annotated[str | None, Read(check=_web_address)]
Endpoint: TypeAlias = Annotated[str | None, Read(check=_endpoint)]


@functools.cache
def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def adapter(cls: type[S]) -> TypeAdapter[S]:
    """Pydantic's validator and serializer of a settings class, built once."""
    return _adapter(cls)  # type: ignore[arg-type]  # a class can be hashed


class ByType:
    """Metadata of an annotation: a mapping whose ``type`` selects the settings dataclass that it is parsed as.

    ``what`` names the mapping in messages. A class is loaded when a configuration uses its type. A key that only other
    types have is ignored, as in earlier versions: a machine's environment may contain settings of several types.
    """

    def __init__(self, what: str, default: str, table: Table[Any], load: Callable[[str], type[Any]]) -> None:
        self.what, self.default, self.table, self.load = what, default, table, load

    def read(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            if dataclasses.is_dataclass(value):
                return value
            raise ValueError(f"{self.what} is a mapping of settings")
        settings = {"type": self.default, **value}
        if not isinstance(settings["type"], str) or settings["type"] not in self.table:
            raise ValueError(f"the type of {self.what} is one of: {', '.join(self.table)}")
        cls = self.load(settings["type"])
        if foreign := self.foreign(settings):
            settings = {name: content for name, content in settings.items() if name not in foreign}
        fields = {field.name: field for field in dataclasses.fields(cls)}
        missing = [name for name, field in fields.items() if _required(field) and settings.get(name) in (None, "")]
        if not missing:
            return adapter(cls).validate_python(settings)
        needs = f"{self.what} of type {settings['type']} needs {_listed(missing)}"
        raise _with_others(needs, cls, {name: given for name, given in settings.items() if name not in missing})

    def foreign(self, given: Mapping[str, Any]) -> set[str]:
        """Keys that this type lacks and another built-in type has."""
        own = _names_of(self.load(given.get("type", self.default)))
        unknown = set(given) - own
        return (
            unknown & set().union(*(_names_of(self.load(name)) for name in self.table.built_in)) if unknown else unknown
        )

    @staticmethod
    def plain(value: Any) -> Any:
        return adapter(type(value)).dump_python(value, mode="json")

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        serialization = core_schema.plain_serializer_function_ser_schema(self.plain)
        return core_schema.no_info_plain_validator_function(self.read, serialization=serialization)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"oneOf": [handler(adapter(self.load(name)).core_schema) for name in self.table]}


def _with_others(needs: str, cls: type[Any], settings: Mapping[str, Any]) -> Exception:
    """The error ``needs``, with all other problems of the settings, from which the required ones are missing."""
    from pydantic import ValidationError
    from pydantic_core import InitErrorDetails, PydanticCustomError

    problems = [InitErrorDetails(type=PydanticCustomError("settings_missing", needs), loc=(), input=None)]
    try:
        adapter(cls).validate_python(settings)
    except ValidationError as error:
        problems += [
            InitErrorDetails(type=PydanticCustomError(one["type"], one["msg"]), loc=one["loc"], input=None)
            for one in error.errors(include_url=False, include_context=False, include_input=False)
            if one["type"] != "missing"
        ]
    return ValidationError.from_exception_data(cls.__name__, problems)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _names_of(cls: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def _listed(names: Sequence[str]) -> str:
    """``a 'host', a 'user' and a 'path'``."""
    words = [f"{'an' if name[0] in 'aeio' else 'a'} {name!r}" for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def refused(error: ValidationError, known: Callable[[Sequence[str]], Sequence[str]], name: str = "") -> Refused:
    """Every problem, one per line, without the values. ``known`` returns the settings at a place; ``name`` says what
    the values belong to, if not to the configuration."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return Refused("\n".join(sentence(one, known, name) for one in problems), code="bad_configuration")


def sentence(
    error: Any,
    known: Callable[[Sequence[str]], Sequence[str]],
    of: str = "",
    origin: Callable[[Sequence[str]], str] = lambda where: "",
) -> str:
    """One of pydantic's problems. ``origin`` returns the old name that has set a setting, if one has."""
    where = [str(part) for part in error["loc"]]
    name = ".".join(where)
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        import difflib

        names = sorted(known(where[:-1]))
        near = difflib.get_close_matches(where[-1], names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}."
        return f"Unknown setting {name!r}{hint}"
    what = error["msg"].removeprefix("Value error, ")
    old = origin(where)
    subject = f"{old} (setting {name!r})" if old else f"Setting {name!r}" if where else of
    return f"{subject} is invalid: {what[:1].lower()}{what[1:]}."

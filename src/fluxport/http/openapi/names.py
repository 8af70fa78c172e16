"""Enumerations of the API, read from the tables that the code itself uses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import GetCoreSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from fluxport.findings import SENTENCES
from fluxport.formats import FORMATS
from fluxport.formats.compress import COMPRESSIONS
from fluxport.jobs.request import PRIORITIES
from fluxport.plugins import Table
from fluxport.series.aggregate import AGGREGATES
from fluxport.stages import VERIFIED


class OneOf(str):
    """A string that is one of ``names()`` when the document is generated; its schema is named after the class.

    ``any_case``: the service also accepts capitals, although the document does not list them."""

    any_case: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def names(cls) -> Iterable[str]: ...

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        literal = core_schema.literal_schema(list(cls.names()))
        ref = f"{cls.__module__}.{cls.__name__}:{id(cls)}"
        return core_schema.no_info_before_validator_function(_lower if cls.any_case else _same, literal, ref=ref)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _same(value: Any) -> Any:
    return value


def with_aliases(table: Table[Any]) -> list[str]:
    """Every name by which a component of the table can be requested, names first, then aliases."""
    return [*table, *(alias for row in table.values() for alias in row.aliases)]


class Format(OneOf):
    any_case = True

    @classmethod
    def names(cls) -> Iterable[str]:
        return with_aliases(FORMATS)


class Compression(OneOf):
    any_case = True

    @classmethod
    def names(cls) -> Iterable[str]:
        return with_aliases(COMPRESSIONS)


class Priority(OneOf):
    @classmethod
    def names(cls) -> Iterable[str]:
        return PRIORITIES


class Aggregate(OneOf):
    @classmethod
    def names(cls) -> Iterable[str]:
        return AGGREGATES


class WarningCode(OneOf):
    @classmethod
    def names(cls) -> Iterable[str]:
        return SENTENCES


class Verified(OneOf):
    @classmethod
    def names(cls) -> Iterable[str]:
        return VERIFIED


Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Digest = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"})]
Url = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]

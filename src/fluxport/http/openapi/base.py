"""The two kinds of bodies, and the error that all of the API answers with."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from fluxport import formats
from fluxport.formats.options import ColumnChoice


class Answer(BaseModel):
    """What the service sends: every field is always there, and there may be more in a later version."""

    model_config = ConfigDict(strict=True)


class Asked(BaseModel):
    """What a caller sends: a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


def example(body: Any) -> ConfigDict:
    """A model's configuration with one example of it."""
    return ConfigDict(json_schema_extra={"examples": [body]})


class Problem(Answer):
    """An error (RFC 9457). `code` is for programs and stays, `detail` is for people and may be worded anew."""

    model_config = example(
        {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "Unknown format 'pdf'; choose one of: csv, xlsx, parquet.",
            "code": "unknown_format",
            "request_id": "393e9e84bdac41d3a79d9fd656a6c282",
        }
    )

    type: Literal["about:blank"]
    title: str = Field(description="the phrase of the status")
    status: int = Field(description="the HTTP status", ge=400, le=599)
    detail: str = Field(description="what was wrong, with what, and what to do")
    code: str = Field(description="stable; docs/reference/errors.md has all of them")
    request_id: str = Field(description="that of the answer's X-Request-Id; the log has it too")


class Failure(Answer):
    """Why an export failed or an attempt did."""

    code: str = Field(description="stable; docs/reference/errors.md has all of them")
    message: str = Field(description="what was wrong, with what, and what to do")
    retryable: bool = Field(description="whether the same request may succeed later")


def options_models() -> list[type[BaseModel]]:
    """The options of every format that is there, one model for each class of options."""
    column = _model_of(ColumnChoice, "A column of the file.", name=(str, Field(min_length=1)))
    columns = (str | list[str | column], Field((), description="pick, order and rename: names, or objects"))  # type: ignore[valid-type]
    found: dict[type, list[str]] = {}
    for name in formats.FORMATS:
        found.setdefault(formats.options_class(name), []).append(name)
    about = "Options of {}. docs/reference/formats.md explains them."
    return [_model_of(cls, about.format(", ".join(names)), columns=columns) for cls, names in found.items()]


def _model_of(cls: type, about: str, **other: Any) -> type[BaseModel]:
    """The fields of a dataclass as a model, but for those that ``other`` has."""
    hints = get_type_hints(cls)
    given: dict[str, Any] = {
        field.name: (hints[field.name], Field(field.default, description=field.metadata.get("description")))
        for field in fields(cls)
    }
    return create_model(cls.__name__, __base__=Asked, __doc__=about, **(given | other))

"""The base classes of request and response bodies, and the error body of the API."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from fluxport import formats
from fluxport.formats.options import ColumnChoice


class Answer(BaseModel):
    """A response body: every field is always present, and later versions may add more."""

    model_config = ConfigDict(strict=True)


class Body(BaseModel):
    """A request body: unknown keys are an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


def example(body: Any) -> ConfigDict:
    """A model's configuration with one example."""
    return ConfigDict(json_schema_extra={"examples": [body]})


class Problem(Answer):
    """An error (RFC 9457). `code` is stable and for programs; `detail` is for people, and its wording may change."""

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
    title: str = Field(description="the reason phrase of the status")
    status: int = Field(description="the HTTP status", ge=400, le=599)
    detail: str = Field(description="what was wrong, with what, and what to do")
    code: str = Field(description="stable; docs/reference/errors.md has all of them")
    request_id: str = Field(description="as in the header X-Request-Id and in the log")


class Failure(Answer):
    """Why an export or an attempt failed."""

    code: str = Field(description="stable; docs/reference/errors.md has all of them")
    message: str = Field(description="what was wrong, with what, and what to do")
    retryable: bool = Field(description="whether the same request may succeed later")


def options_models() -> list[type[BaseModel]]:
    """The options of every format, one model for each class of options."""
    column = _model_of(ColumnChoice, "A column of the file.", name=(str, Field(min_length=1)))
    columns = (str | list[str | column], Field((), description="pick, order and rename: names, or objects"))  # type: ignore[valid-type]  # a model made at run time
    names_by_class: dict[type, list[str]] = {}
    for name in formats.FORMATS:
        names_by_class.setdefault(formats.options_class(name), []).append(name)
    about = "Options of {}. docs/reference/formats.md explains them."
    return [_model_of(cls, about.format(", ".join(names)), columns=columns) for cls, names in names_by_class.items()]


def _model_of(cls: type, about: str, **other: Any) -> type[BaseModel]:
    """A model with the fields of a dataclass; those in ``other`` replace them."""
    hints = get_type_hints(cls)
    definitions: dict[str, Any] = {
        field.name: (hints[field.name], Field(field.default, description=field.metadata.get("description")))
        for field in fields(cls)
    }
    return create_model(cls.__name__, __base__=Body, __doc__=about, **(definitions | other))

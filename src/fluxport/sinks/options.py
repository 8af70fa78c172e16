"""The settings common to all sinks; a sink's own class extends them. They are configured in ``stores.<name>``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fluxport.settings import Duration, Secret, setting

# Typed for pydantic; a plain dictionary avoids the import.
_STRICT: Any = {"extra": "forbid", "validate_default": True}


@dataclass(frozen=True, kw_only=True)
class SinkOptions:
    """Settings of every sink. A subclass adds ``type``, a ``Literal`` of its name in the table.

    ``environ`` maps environment variables to settings of the store ``local``, if it is of this type.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    environ: ClassVar[Mapping[str, str]] = {}

    type: str
    links: Literal["store", "service"] = setting(
        "store", description="the URL in mails and webhooks: the store's presigned URL, or a link to this service"
    )
    link_s: Duration = setting(7 * 86400.0, gt=0, description="validity of presigned URLs, up to the store's limit")

    def completed(self, environ: Mapping[str, str]) -> SinkOptions:
        """These settings, with unset ones from the environment variables that apply to every store of this type."""
        return self


def value_of(secret: Secret | None) -> str | None:
    return None if secret is None else secret.value


def secret(value: str | None) -> Secret | None:
    return Secret(value) if value else None

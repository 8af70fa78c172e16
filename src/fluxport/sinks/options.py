"""What the settings of every sink have; a sink's own class extends it. They are what ``stores.<name>`` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fluxport.settings import Duration, Secret, setting

# Typed as pydantic reads it; a plain dictionary, so that nothing is imported for it.
_STRICT: Any = {"extra": "forbid", "validate_default": True}


@dataclass(frozen=True, kw_only=True)
class SinkOptions:
    """Of every sink. A class adds ``type``, a ``Literal`` of its name in the table.

    ``environ`` maps variables of the environment to settings of the store ``local``, where it is of this type.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT
    environ: ClassVar[Mapping[str, str]] = {}

    type: str
    links: Literal["store", "service"] = setting(
        "store", description="what mails and webhooks carry: the store's signed URL, or a link to this service"
    )
    link_s: Duration = setting(7 * 86400.0, gt=0, description="how long signed URLs work, as far as the store allows")

    def completed(self, environ: Mapping[str, str]) -> SinkOptions:
        """With what the environment says of every store of this type, where the configuration says nothing."""
        return self


def value_of(secret: Secret | None) -> str | None:
    return None if secret is None else secret.value


def secret(value: str | None) -> Secret | None:
    return Secret(value) if value else None

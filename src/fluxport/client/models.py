"""The service's responses as types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxport.error_codes import Failure

FINAL = ("completed", "failed", "canceled", "expired")


@dataclass(frozen=True)
class Link:
    """A link that is valid for anyone who has it, until ``expires_at`` (RFC 3339)."""

    url: str = field(repr=False)
    expires_at: str | None


@dataclass(frozen=True)
class JobFile:
    """A file of a completed export; ``sha256`` is lowercase hex, ``verified`` is how the store confirmed the bytes."""

    name: str
    rows: int
    bytes: int
    sha256: str
    verified: str | None


@dataclass(frozen=True)
class Job:
    """A stored export at the time of the response.

    ``status`` is queued, running, completed, failed, canceled or expired; ``percent`` (0 to 100) is None if the number
    of rows is unknown. ``link`` is set once the export is completed. ``raw`` is the whole response.
    """

    id: str
    status: str
    format: str
    rows: int
    bytes: int
    percent: float | None
    truncated: bool
    files: tuple[JobFile, ...]
    error: Failure | None
    link: Link | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def ended(self) -> bool:
        return self.status in FINAL

    @classmethod
    def from_json(cls, response: Mapping[str, Any]) -> Job:
        names = JobFile.__dataclass_fields__
        download, error = response.get("download"), response.get("error")
        return cls(
            id=response["id"],
            status=response["status"],
            format=response["format"],
            rows=response["rows"],
            bytes=response["bytes"],
            percent=response.get("percent"),
            truncated=bool(response.get("truncated")),
            files=tuple(JobFile(**{name: file.get(name) for name in names}) for file in response["files"]),
            error=Failure.from_json(error) if error else None,
            link=Link(download["url"], download.get("expires_at")) if download else None,
            raw=response,
        )


@dataclass(frozen=True)
class JobEvent:
    """An event of an export: ``progress`` (phase, rows, bytes), or its end."""

    seq: int
    kind: str
    data: Mapping[str, Any]

    @property
    def last(self) -> bool:
        return self.kind != "progress"

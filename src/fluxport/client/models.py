"""What a service answers, as types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxport.error_codes import Failure

FINAL = ("completed", "failed", "canceled", "expired")


@dataclass(frozen=True)
class Link:
    """A link for anybody who holds it, until ``expires_at`` (RFC 3339)."""

    url: str = field(repr=False)
    expires_at: str | None


@dataclass(frozen=True)
class JobFile:
    """A file of a completed export; ``sha256`` is lowercase hex, ``verified`` by what the store confirmed it."""

    name: str
    rows: int
    bytes: int
    sha256: str
    verified: str | None


@dataclass(frozen=True)
class Job:
    """A stored export as it stood when the service was asked.

    ``status`` is queued, running, completed, failed, canceled or expired; ``percent`` (0 to 100) is known only where
    the rows to come are. ``link`` is there once it is completed. ``raw`` is the whole answer.
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
    def from_json(cls, told: Mapping[str, Any]) -> Job:
        names = JobFile.__dataclass_fields__
        download, error = told.get("download"), told.get("error")
        return cls(
            id=told["id"],
            status=told["status"],
            format=told["format"],
            rows=told["rows"],
            bytes=told["bytes"],
            percent=told.get("percent"),
            truncated=bool(told.get("truncated")),
            files=tuple(JobFile(**{name: file.get(name) for name in names}) for file in told["files"]),
            error=Failure.from_json(error) if error else None,
            link=Link(download["url"], download.get("expires_at")) if download else None,
            raw=told,
        )


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to an export: ``progress`` (phase, rows, bytes), or how it ended."""

    seq: int
    kind: str
    data: Mapping[str, Any]

    @property
    def last(self) -> bool:
        return self.kind != "progress"

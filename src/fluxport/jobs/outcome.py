"""The recorded outcome of an export, typed. The columns ``result`` and ``attempt_errors`` hold it as JSON, which older
and newer versions read and write too: a missing key is allowed, an unknown one is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, TypedDict

from fluxport.error_codes import Failure
from fluxport.errors import Gone
from fluxport.plan import Export


class Changes(TypedDict, total=False):
    """The columns that may change with an export's state; see :class:`fluxport.jobs.store.Record`."""

    rows: int
    rows_total: int
    bytes: int
    result: Result
    error: Failure
    attempt_errors: tuple[FailedAttempt, ...]
    expires_at: float


@dataclass(frozen=True)
class FailedAttempt(Failure):
    """Why an attempt did not complete, and when it ended (Unix seconds)."""

    at: float = 0.0

    @classmethod
    def now(cls, failure: Failure, at: float) -> FailedAttempt:
        return cls(failure.code, failure.message, failure.retryable, at)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> FailedAttempt:
        return cls.now(Failure.from_json(stored), float(stored["at"]))


@dataclass(frozen=True)
class StoredFile:
    """A written file. ``location`` is its address in its store, None for a direct stream; ``name`` is its name there if
    it is one of several; ``verified`` is how the store confirmed it (:data:`fluxport.stages.VERIFIED`)."""

    filename: str
    media_type: str
    rows: int
    bytes: int
    sha256: str
    location: str | None = None
    verified: str | None = None
    name: str | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in stored.items() if key in names})

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Result(StoredFile):
    """Everything that an export wrote. With several ``files``, ``location`` is that of their manifest, and ``filename``
    and ``sha256`` are those of all files together. ``upload_s`` is the time that the store took, in seconds."""

    truncated: bool = False
    columns: tuple[Mapping[str, str], ...] = ()
    warnings: tuple[Mapping[str, Any], ...] = ()
    files: tuple[StoredFile, ...] = ()
    upload_s: float | None = None
    link_issued_at: int | None = None

    @classmethod
    def of(cls, export: Export, sha256: str) -> Result:
        """The result of a finished export, without the location of its file."""
        tally = export.tally
        return cls(
            filename=export.filename,
            media_type=export.media_type,
            rows=tally.rows,
            bytes=tally.size_bytes,
            sha256=sha256,
            truncated=tally.truncated,
            columns=tuple({"name": name, "type": kind} for name, kind in tally.columns),
            warnings=tuple(finding.to_json() for finding in export.findings),
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        result = super().from_json(stored)
        defaults = {"media_type": result.media_type}
        files = tuple(StoredFile.from_json(defaults | file) for file in stored.get("files", ()))
        return replace(result, files=files, columns=tuple(result.columns), warnings=tuple(result.warnings))

    def to_json(self) -> dict[str, Any]:
        value = super().to_json()
        if self.files:
            return value | {"files": [file.to_json() for file in self.files]}
        value.pop("files", None)
        return value

    @property
    def parts(self) -> tuple[StoredFile, ...]:
        """All part files, or the single file."""
        return self.files or (self,)

    @property
    def locations(self) -> list[str]:
        """The location of everything that was stored."""
        return [file.location for file in (*self.files, self) if file.location is not None]


def expired() -> Gone:
    """The error for the file of an export that has expired."""
    return Gone("This file has expired and was deleted.", code="file_expired")

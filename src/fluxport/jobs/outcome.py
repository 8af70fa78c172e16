"""What is recorded of how an export ended, typed: the columns ``result`` and ``attempt_errors`` of our tables hold its
JSON, which older and newer versions write and read too; so a key may be missing, and one that is not known is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, TypedDict

from fluxport.error_codes import Failure
from fluxport.plan import Export


class Changes(TypedDict, total=False):
    """What a change of an export's state may change beside it; see :class:`fluxport.jobs.store.Record`."""

    rows: int
    rows_total: int
    bytes: int
    result: Result
    error: Failure
    attempt_errors: tuple[FailedAttempt, ...]
    expires_at: float


@dataclass(frozen=True)
class FailedAttempt(Failure):
    """Why an attempt did not complete, and when that was (Unix seconds)."""

    at: float = 0.0

    @classmethod
    def now(cls, failure: Failure, at: float) -> FailedAttempt:
        return cls(failure.code, failure.message, failure.retryable, at)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> FailedAttempt:
        return cls.now(Failure.from_json(told), float(told["at"]))


@dataclass(frozen=True)
class StoredFile:
    """A file that was made. ``location`` is where its store has it, None for one that was streamed; ``name`` what it is
    called there, of one of several; ``verified`` how the store confirmed it (:data:`fluxport.stages.VERIFIED`)."""

    filename: str
    media_type: str
    rows: int
    bytes: int
    sha256: str
    location: str | None = None
    verified: str | None = None
    name: str | None = None

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in told.items() if key in names})

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Result(StoredFile):
    """The whole of what an export made. Of several ``files`` it is their manifest that ``location`` leads to, and
    ``filename`` and ``sha256`` are those of all of them together. ``upload_s`` is what the store took."""

    truncated: bool = False
    columns: tuple[Mapping[str, str], ...] = ()
    warnings: tuple[Mapping[str, Any], ...] = ()
    files: tuple[StoredFile, ...] = ()
    upload_s: float | None = None
    link_issued_at: int | None = None

    @classmethod
    def of(cls, export: Export, sha256: str) -> Result:
        """What a finished export made, before anything is known of where it is stored."""
        tally = export.tally
        return cls(
            filename=export.filename,
            media_type=export.media_type,
            rows=tally.rows,
            bytes=tally.size_bytes,
            sha256=sha256,
            truncated=tally.truncated,
            columns=tuple({"name": name, "type": kind} for name, kind in tally.columns),
            warnings=tuple(
                {"code": f.code, "column": f.column, "count": f.count, "message": f.sentence} for f in export.findings
            ),
        )

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        found = super().from_json(told)
        whole = {"media_type": found.media_type}
        files = tuple(StoredFile.from_json(whole | file) for file in told.get("files", ()))
        return replace(found, files=files, columns=tuple(found.columns), warnings=tuple(found.warnings))

    def to_json(self) -> dict[str, Any]:
        told = super().to_json() | {"files": [file.to_json() for file in self.files]}
        return told if self.files else {key: value for key, value in told.items() if key != "files"}

    @property
    def parts(self) -> tuple[StoredFile, ...]:
        """Each file of it: the several, or the one."""
        return self.files or (self,)

    @property
    def locations(self) -> list[str]:
        """Where everything is that was stored."""
        return [file.location for file in (*self.files, self) if file.location is not None]

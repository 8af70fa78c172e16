"""Download links of stored files: to this service, or presigned URLs of the store."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxport.auth.tokens import download_token, one_time_token
from fluxport.errors import FluxportError
from fluxport.jobs.store import Record
from fluxport.jobs.view import rfc3339
from fluxport.stages import About, Sink

log = logging.getLogger("fluxport.stores")


@dataclass(frozen=True)
class Signed:
    """A store that issues presigned URLs, valid for ``link_s`` seconds."""

    sink: Sink
    link_s: float


@dataclass(frozen=True)
class Links:
    """Issues links: ``secret`` signs them, ``link_s`` is how many seconds they are valid, ``public_url`` is their root
    (None: that of the request)."""

    secret: bytes = field(repr=False)
    link_s: float
    public_url: str | None
    signed: Mapping[str, Signed] = field(default_factory=dict)

    def make(
        self, record: Record, base: str, now: float, *, one_time: bool = False, lasting: bool = False
    ) -> dict[str, Any] | None:
        """``{"url", "expires_at"}`` of the stored file; None if there is no file. A ``lasting`` link is valid until the
        file expires, or is a presigned URL of the store, valid as long as the store allows."""
        if record.file is None:
            return None
        if lasting and (presigned := self._of_store(record, now)) is not None:
            return presigned
        expires = int(now + self.link_s)
        if record.expires_at is not None:
            expires = int(record.expires_at) if lasting else min(expires, int(record.expires_at))
        new_token = one_time_token if one_time else download_token
        token = new_token(self.secret, record.id, record.file.filename, expires)
        root = (self.public_url or base).rstrip("/")
        return {"url": f"{root}/v1/exports/{record.id}/file?token={token}", "expires_at": rfc3339(expires)}

    def _of_store(self, record: Record, now: float) -> dict[str, Any] | None:
        signed, result = self.signed.get(record.spec.store), record.file
        if signed is None or result is None or result.location is None or result.files:
            return None  # only this service offers several files under one link
        valid_s = signed.link_s if record.expires_at is None else min(signed.link_s, record.expires_at - now)
        about = About(result.media_type, result.filename)
        try:
            presigned = signed.sink.url(result.location, valid_s, about)
        except FluxportError as error:
            # The caller gets a link to this service instead; the reason is for the operator.
            log.warning("the store returned no presigned URL: %s", error.message, extra={"task_id": record.id})
            return None
        if presigned is None:
            return None
        return {"url": presigned.url, "expires_at": rfc3339(int(now + presigned.expires_s))}

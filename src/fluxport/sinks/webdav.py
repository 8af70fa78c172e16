"""Files in a folder of a WebDAV server (Nextcloud, Apache and others), stored completely or not at all.

A file is written under a hidden name in its final folder, its size is checked, and one MOVE renames it. A killed
process leaves only the hidden file, which a sweep deletes once it is old enough. The body is streamed in chunks without
a length and never retried; all other requests are.

WebDAV has no atomic "create if absent": if two processes store one name at the same time, the server decides which file
remains. A lock serializes the threads of one process.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

from fluxport.errors import Broken, FluxportError, NotFound, Refused, Unavailable
from fluxport.settings import Duration, Secret, WebAddress, setting
from fluxport.sinks._http import Http, Response
from fluxport.sinks._sums import differs
from fluxport.sinks.object_options import HttpOptions
from fluxport.sinks.objects import exists, refused
from fluxport.sinks.options import SinkOptions
from fluxport.stages import About, Chunks, Receipt, SignedUrl

_PART = re.compile(r"\.fluxport-[0-9a-f]{16}\.part")
_PROPERTIES = ("contentlength", "etag", "lastmodified")
_PROPFIND = (
    b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop>'
    b"<resourcetype/><getcontentlength/><getetag/><getlastmodified/></prop></propfind>"
)


@dataclass(frozen=True, kw_only=True)
class WebdavOptions(HttpOptions, SinkOptions):
    type: Literal["webdav"] = "webdav"
    url: WebAddress = setting(description="the folder's address: https://cloud.example.com/remote.php/dav/files/me/in")
    user: str | None = setting(None, description="the user name; requires a password")
    password: Secret | None = setting(None, description="the password, or an app password")
    token: Secret | None = setting(None, description="a bearer token instead of user and password")
    orphan_s: Duration = setting(86400.0, gt=0, description="unfinished files older than this are removed")

    def __post_init__(self) -> None:
        if (self.user is None) != (self.password is None):
            raise ValueError("'user' and 'password' must be given together")
        if self.user is not None and self.token is not None:
            raise ValueError("give 'user' and 'password', or a 'token', not both")


class _Entry(NamedTuple):
    """A file on the server; ``written`` is Unix time."""

    size_bytes: int
    etag: str
    written: float


class WebdavSink:
    """The folder must exist; folders in a name are created below it."""

    def __init__(self, options: WebdavOptions, *, overwrite: bool = False) -> None:
        assert options.url is not None  # required
        self._options = options
        self._overwrite = overwrite
        self._http = Http(options.url, options)
        self._root = self._http.path + "/"
        self._place = f"{urlsplit(options.url).scheme}://{self._http.authority}"
        self._publishing = threading.Lock()

    def put(self, name: str, chunks: Chunks, about: About | None = None) -> Receipt:
        """The receipt's location is the file's URL.

        Conflict if the name exists and must not be overwritten, Refused if the server rejects the file or the account,
        StoreFull over a quota, Unavailable if it fails or cannot be reached.
        """
        with closing(chunks):
            target = self._path(name)
            if self._file(target) is not None and not self._overwrite:
                raise exists(name)
            self._make_folders(target)
            part = f"{target.rpartition('/')[0]}/.fluxport-{secrets.token_hex(8)}.part"
            try:
                size, sha256 = self._send(part, chunks, about or About())
                self._publish(part, target, size, name)
            except BaseException:
                with suppress(FluxportError):  # a sweep will delete it
                    self._call("DELETE", part, known=(200, 204, 404))
                raise
        return Receipt(self._place + target, size, sha256)

    def open(self, location: str, start: int = 0, end: int | None = None) -> Chunks:
        """The bytes of the file at a receipt's location."""
        path = self._path(location)
        entry = self._file(path)
        if entry is None:
            raise NotFound("The file is no longer in the store; it may have expired.", code="no_such_file")
        if entry.size_bytes < 0:
            raise Broken(
                f"The WebDAV server {self._http.host} does not report the size of the file.", code="store_differs"
            )
        left = (entry.size_bytes if end is None else min(end, entry.size_bytes)) - start
        if left <= 0:
            return
        wanted = {"range": f"bytes={start}-{start + left - 1}"} if start or end is not None else {}
        response, chunks = self._http.stream(path, lambda: self._headers(wanted))
        with closing(chunks):
            if response.status != (206 if wanted else 200):
                raise self._refused(response)
            for chunk in chunks:
                left -= len(chunk)
                yield chunk
        if left:
            raise Broken("The file in the store was replaced while it was read.", code="store_differs")

    def url(self, location: str, expires_s: float, about: About | None = None) -> SignedUrl | None:
        """WebDAV has no presigned URLs."""
        return None

    def remove(self, name: str) -> None:
        """Delete the file with this name or location, if it exists. Its folder stays, for other files."""
        self._call("DELETE", self._path(name), known=(200, 204, 404))

    def sweep(self, older_than_s: float, now: float) -> list[str]:
        """Delete expired files, and orphaned hidden ones."""
        deleted = []
        for path, entry in list(self._walk(self._root)):
            unfinished = _PART.fullmatch(path.rpartition("/")[2]) is not None
            if entry.written < now - (self._options.orphan_s if unfinished else older_than_s):
                self._call("DELETE", path, known=(200, 204, 404))
                deleted.append(self._place + path)
        return deleted

    # -- storing ---------------------------------------------------------------------------------------------------

    def _make_folders(self, target: str) -> None:
        folder = self._root
        for part in target[len(self._root) :].split("/")[:-1]:
            folder += f"{part}/"
            self._call("MKCOL", folder, known=(200, 201, 204, 405))  # 405: it exists

    def _send(self, part: str, chunks: Chunks, about: About) -> tuple[int, str]:
        """Send everything; returns size and SHA-256. Errors of ``chunks`` propagate unchanged."""
        digest, size = hashlib.sha256(), 0

        def counted() -> Iterator[bytes | memoryview]:
            nonlocal size
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        response = self._http.send("PUT", part, self._headers({"content-type": about.media_type}), counted())
        if response.status not in (200, 201, 204):
            raise self._refused(response)
        return size, digest.hexdigest()

    def _publish(self, part: str, target: str, size: int, name: str) -> None:
        entry = self._file(part)
        if entry is None or entry.size_bytes != size:
            stored = "none" if entry is None else f"{entry.size_bytes:,}"
            raise differs(f"The WebDAV server holds {stored} of the {size:,} bytes that were sent")
        headers = {"destination": self._place + target, "overwrite": "T" if self._overwrite else "F"}
        with self._publishing:
            response = self._http.request("MOVE", part, lambda: self._headers(headers))
            if response.status == 404 and self._file(target) == entry:
                return  # an earlier attempt succeeded, and its response was lost
            if response.status == 412:
                raise exists(name)
            if response.status not in (200, 201, 204):
                raise self._refused(response)

    # -- requests --------------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        """The encoded path of a name, or of a location in this store."""
        root = self._place + self._root
        if name.startswith(root):
            name = unquote(name.removeprefix(root))
        parts = name.split("/")
        if not name.isprintable() or any(part in ("", ".", "..") or _PART.fullmatch(part) for part in parts):
            raise Refused(f"{name!r} cannot be the name of a stored file.", code="bad_name")
        return self._root + quote(name)

    def _headers(self, more: Mapping[str, str]) -> Mapping[str, str]:
        options = self._options
        own = {"host": self._http.authority, **more}
        if options.token is not None:
            return own | {"authorization": f"Bearer {options.token.value}"}
        if options.user is None or options.password is None:
            return own
        account = base64.b64encode(f"{options.user}:{options.password.value}".encode()).decode()
        return own | {"authorization": f"Basic {account}"}

    def _call(
        self,
        method: str,
        path: str,
        more: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        known: tuple[int, ...],
    ) -> Response:
        """The response if its status is in ``known``; else raises the error that it stands for."""
        response = self._http.request(method, path, lambda: self._headers(more or {}), body)
        if response.status not in known:
            raise self._refused(response)
        return response

    def _file(self, path: str) -> _Entry | None:
        """The file at this path; None if there is none."""
        return next((entry for _, entry in self._listed(path, "0") if entry is not None), None)

    def _listed(self, path: str, depth: Literal["0", "1"]) -> Iterator[tuple[str, _Entry | None]]:
        """Paths and files at ``path`` and, with depth 1, in that folder; folders are None. Empty if nothing exists."""
        headers = {"depth": depth, "content-type": "application/xml"}
        response = self._call("PROPFIND", path, headers, _PROPFIND, known=(207, 404))
        if response.status == 404:
            return
        for one in response.xml().iter("{DAV:}response"):
            entry_path = quote(unquote(urlsplit(one.findtext("{DAV:}href") or "").path))
            yield entry_path, None if one.find(".//{DAV:}collection") is not None else _entry(one)

    def _refused(self, response: Response) -> FluxportError:
        if response.status in (404, 409):
            return Refused(
                f"The WebDAV server {self._http.host} has no such folder (status {response.status}); create it first.",
                code="not_writable",
            )
        if response.status == 423:
            return Unavailable(f"The file is locked on the WebDAV server {self._http.host}.", code="store_failed")
        return refused(self._http.host, response)

    def _walk(self, folder: str) -> Iterator[tuple[str, _Entry]]:
        """Every file below the folder."""
        for path, entry in list(self._listed(folder, "1")):
            if entry is not None:
                yield path, entry
            elif path.rstrip("/") != folder.rstrip("/") and path.startswith(folder):
                yield from self._walk(path.rstrip("/") + "/")


def _entry(response: ElementTree.Element) -> _Entry:
    """The file in one response of a PROPFIND. Without a readable size it has the size -1; without a readable time it
    counts as new, so that no sweep deletes it."""
    size, etag, written = (response.findtext(f".//{{DAV:}}get{name}") or "" for name in _PROPERTIES)
    try:
        written_at = parsedate_to_datetime(written).timestamp()
    except ValueError:
        written_at = math.inf
    return _Entry(int(size) if size.isdecimal() and size.isascii() else -1, etag, written_at)

"""Files in a folder of an SFTP server, stored completely or not at all: each is written under a hidden name, verified,
and renamed in one step. A killed process leaves only the hidden file, which a sweep deletes once it is old enough.

The size is verified, and the SHA-256 if the server computes it (the extension check-file, which ProFTPD and others have
but OpenSSH does not).

The server's key must be known: it is checked before anything is sent.
"""

from __future__ import annotations

import errno
import hashlib
import posixpath
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fluxport.errors import Broken, Conflict, NotFound, Refused, StoreFull, Unavailable
from fluxport.settings import Duration, Secret, setting
from fluxport.sinks._sums import differs
from fluxport.sinks.options import SinkOptions, value_of
from fluxport.ssh import SshServer, connected, connection_errors
from fluxport.stages import SIZE, About, Chunks, Receipt, SignedUrl

if TYPE_CHECKING:
    from paramiko import SFTPAttributes, SFTPClient, SFTPFile

READ_BYTES = 256 << 10
HASHED_BYTES_S = 50_000_000  # the lowest expected hash rate of a server

_PART = re.compile(r"\.fluxport-[0-9a-f]{16}\.part")


@dataclass(frozen=True, kw_only=True)
class SftpOptions(SinkOptions):
    type: Literal["sftp"] = "sftp"
    host: str = setting(description="the server")
    port: int = setting(22, ge=1, le=65535, description="its port")
    user: str = setting(description="the user name")
    password: Secret | None = setting(None, description="the password")
    key_file: Path | None = setting(None, description="the private key file")
    known_hosts: Path | None = setting(
        None, description="file of known server keys in OpenSSH's format; default: ~/.ssh/known_hosts"
    )
    path: Path = setting(description="the folder on the server, from /")
    timeout_s: Duration = setting(60.0, gt=0, description="time without data after which the server counts as failed")
    orphan_s: Duration = setting(86400.0, gt=0, description="unfinished files older than this are removed")

    def __post_init__(self) -> None:
        if not self.path.is_absolute():
            raise ValueError("a store of type sftp needs a 'path' that begins with /")


class SftpSink:
    """``path`` must exist on the server; directories in a name are created. Each file has its own connection."""

    def __init__(self, options: SftpOptions, *, overwrite: bool = False) -> None:
        self._options = options
        self._overwrite = overwrite
        self._root = str(options.path).rstrip("/")

    def put(self, name: str, chunks: Chunks, about: About | None = None) -> Receipt:
        """The receipt's location is ``sftp://host/path/name``."""
        with closing(chunks), self._connected() as sftp:
            with self._translated():
                target = self._path(name)
                self._make_folders(sftp, target)
                if not self._overwrite and _status(sftp, target) is not None:
                    raise _exists(name)
            part = posixpath.join(posixpath.dirname(target), f".fluxport-{secrets.token_hex(8)}.part")
            try:
                size, sha256 = self._fill(sftp, part, chunks)
                with self._translated():
                    verified = self._verified(sftp, part, size, sha256)
                    self._publish(sftp, part, target)
            finally:
                with suppress(*connection_errors()):
                    sftp.remove(part)
        return Receipt(self._location(target), size, sha256, verified)

    def open(self, location: str, start: int = 0, end: int | None = None) -> Chunks:
        """The bytes of the file at a receipt's location."""
        path = self._path(location)
        with self._connected() as sftp, self._translated():
            status = _status(sftp, path)
            if status is None:
                raise NotFound("The file is no longer in the store; it may have expired.", code="no_such_file")
            size = status.st_size or 0
            left = (size if end is None else min(end, size)) - start
            with sftp.open(path, "rb") as file:
                file.seek(start)
                while left > 0 and (chunk := file.read(min(left, READ_BYTES))):
                    left -= len(chunk)
                    yield chunk
        if left > 0:
            raise Broken("The file in the store was replaced while it was read.", code="store_differs")

    def url(self, location: str, expires_s: float, about: About | None = None) -> SignedUrl | None:
        """SFTP has no presigned URLs."""
        return None

    def remove(self, name: str) -> None:
        """Delete the file with this name or location, if it exists."""
        path = self._path(name)
        with self._connected() as sftp, self._translated(), suppress(FileNotFoundError):
            sftp.remove(path)
            if (folder := posixpath.dirname(path)) != self._root:
                with suppress(OSError):  # the folder is not empty
                    sftp.rmdir(folder)

    def sweep(self, older_than_s: float, now: float) -> list[str]:
        """Delete expired files, and orphaned hidden ones."""
        deleted = []
        with self._connected() as sftp, self._translated():
            for path, status in list(_walk(sftp, self._root)):
                unfinished = _PART.fullmatch(posixpath.basename(path)) is not None
                oldest = now - (self._options.orphan_s if unfinished else older_than_s)
                if (status.st_mtime or 0) < oldest:
                    with suppress(FileNotFoundError):
                        sftp.remove(path)
                        deleted.append(self._location(path))
        return deleted

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate server errors raised inside into ours."""
        host = self._options.host
        try:
            yield
        except PermissionError as error:
            raise Refused(
                f"The SFTP server {host} denied access to this folder; check its permissions.", code="not_writable"
            ) from error
        except FileNotFoundError as error:
            raise Refused(
                f"The SFTP server {host} has no such folder; create it first.", code="not_writable"
            ) from error
        except connection_errors() as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(f"The SFTP server {host} has no space for the file.") from error
            raise _unreachable(host, error) from error

    # -- the server ------------------------------------------------------------------------------------------------

    @contextmanager
    def _connected(self) -> Iterator[SFTPClient]:
        options = self._options
        server = SshServer(
            options.host,
            options.user,
            options.port,
            value_of(options.password),
            options.key_file,
            options.known_hosts,
        )
        client = connected(
            server, role="SFTP server", extra="sftp", denied="store_denied", unreachable="store_unreachable"
        )
        with closing(client):
            try:
                sftp = client.open_sftp()
            except connection_errors() as error:
                raise _unreachable(options.host, error) from error
            channel: Any = sftp.get_channel()
            channel.settimeout(options.timeout_s)
            with closing(sftp):
                yield sftp

    def _path(self, name: str) -> str:
        """The path of a name below the store, or of a location in it."""
        name = name.removeprefix(self._location(self._root + "/"))
        parts = name.split("/")
        if not name.isprintable() or any(part in ("", ".", "..") or _PART.fullmatch(part) for part in parts):
            raise Refused(f"{name!r} cannot be the name of a stored file.", code="bad_name")
        return f"{self._root}/{name}"

    def _location(self, path: str) -> str:
        return f"sftp://{self._options.host}{path}"

    def _make_folders(self, sftp: SFTPClient, target: str) -> None:
        below = posixpath.dirname(target)[len(self._root) :].strip("/")
        folder = self._root
        for part in filter(None, below.split("/")):
            folder = f"{folder}/{part}"
            if _status(sftp, folder) is None:
                with suppress(OSError):  # another process may have created it; any other error recurs below
                    sftp.mkdir(folder)

    def _fill(self, sftp: SFTPClient, part: str, chunks: Chunks) -> tuple[int, str]:
        """Write everything; returns size and SHA-256. Errors of ``chunks`` propagate unchanged."""
        digest, size = hashlib.sha256(), 0
        with self._translated():
            file = sftp.open(part, "wbx")
            file.set_pipelined(True)
        try:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                with self._translated():
                    file.write(bytes(chunk))
        except BaseException:
            with suppress(*connection_errors()):
                file.close()
            raise
        with self._translated():
            file.close()
        return size, digest.hexdigest()

    def _verified(self, sftp: SFTPClient, part: str, size: int, sha256: str) -> str:
        """The check by which the server's file was verified."""
        if (stored := sftp.stat(part).st_size or 0) != size:
            raise differs(f"The SFTP server holds {stored:,} of the {size:,} bytes that were sent")
        with sftp.open(part, "rb") as file:
            reported = self._server_sha256(sftp, file, size)
            if reported is None:
                return SIZE
            # Servers frame their responses differently, so a mismatch proves nothing; the bytes are then compared.
            if reported.hex() != sha256 and _sha256_of(file) != sha256:
                raise differs("The bytes on the SFTP server differ from those that were sent")
        return "sha256"

    def _server_sha256(self, sftp: SFTPClient, file: SFTPFile, size: int) -> bytes | None:
        """The SHA-256 of the file as computed by the server; None if it does not support that."""
        from paramiko.sftp import CMD_EXTENDED, int64

        channel: Any = sftp.get_channel()
        channel.settimeout(self._options.timeout_s + size / HASHED_BYTES_S)  # it sends nothing meanwhile
        try:
            # The library's own call uses an extension name that servers do not support.
            words = ("check-file-handle", file.handle, "sha256", int64(0), int64(0), 0)
            _, response = sftp._request(CMD_EXTENDED, *words)
        except TimeoutError:
            raise
        except OSError:
            return None
        finally:
            channel.settimeout(self._options.timeout_s)
        return bytes(response.get_remainder()[-hashlib.sha256().digest_size :])

    def _publish(self, sftp: SFTPClient, part: str, target: str) -> None:
        if self._overwrite:
            sftp.posix_rename(part, target)
            return
        try:
            sftp.rename(part, target)  # fails if the file exists
        except OSError:
            if _status(sftp, target) is not None:
                raise _exists(posixpath.basename(target)) from None
            raise


def _sha256_of(file: SFTPFile) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(READ_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _status(sftp: SFTPClient, path: str) -> SFTPAttributes | None:
    try:
        return sftp.stat(path)
    except FileNotFoundError:
        return None


def _walk(sftp: SFTPClient, folder: str) -> Iterator[tuple[str, SFTPAttributes]]:
    for entry in sftp.listdir_attr(folder):
        path = f"{folder}/{entry.filename}"
        if stat.S_ISDIR(entry.st_mode or 0):
            yield from _walk(sftp, path)
        elif stat.S_ISREG(entry.st_mode or 0):
            yield path, entry


def _exists(name: str) -> Conflict:
    return Conflict(f"A file named {name!r} exists already; choose another name.", code="file_exists")


def _unreachable(host: str, error: BaseException) -> Unavailable:
    sentence = f"The SFTP server {host} cannot be reached, or the connection was lost."
    return Unavailable(sentence, code="store_unreachable", detail=str(error))

"""Files in a directory, stored completely or not at all.

A file is written under a temporary name in its final directory, synced and measured; one atomic step then gives it its
own name, and the directory is synced. A process that is killed leaves only the temporary file. The writer holds a lock
on that file while it runs (the kernel releases it with the process, in any container), so :meth:`LocalSink.sweep`
recognizes abandoned files:

    .fluxport-*  locked by its writer  --fsync, size checked-->  hard link or rename to the final name, directory fsync
    .fluxport-*  without a lock        --sweep-->                deleted

A file system reports no digest, and reading a file back right away reads the page cache, not the disk: after fsync only
the size is compared (``verified`` is "size").
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from fluxport import systems
from fluxport.errors import Broken, Conflict, NotFound, Refused, StoreFull, Unavailable
from fluxport.settings import setting
from fluxport.sinks.options import SinkOptions
from fluxport.stages import About, Chunks, Receipt, SignedUrl

READ_BYTES = 256 << 10
FREE_CHECK_BYTES = 16 << 20  # free space is checked each time this much has been written

_PART = re.compile(r"\.fluxport-[0-9a-f]{16}\.part")
_FOLDER = re.compile(r"\.fluxport-[0-9a-f]{16}\.parts")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_WRITABLE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOTEMPTY,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
}


@dataclass(frozen=True, kw_only=True)
class LocalOptions(SinkOptions):
    """The settings of a folder."""

    type: Literal["local"] = "local"
    path: Path = setting(Path("exports"), description="the folder, created if it does not exist")
    free_bytes_min: int = setting(64 << 20, ge=0, description="refuse to write when less is free on the disk")


def local_sink(options: LocalOptions, *, overwrite: bool = False) -> LocalSink:
    """The sink for the folder of a store, which is created if it does not exist."""
    try:
        options.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(
            f"The folder {str(options.path)!r} of a store cannot be created: {error.strerror}; change its 'path'.",
            code="bad_configuration",
        ) from None
    return LocalSink(options.path.resolve(), overwrite=overwrite, free_bytes_min=options.free_bytes_min)


class LocalSink:
    """``root`` must exist; directories in a name are created below it.

    Each file has ``mode``, whatever the umask. ``free_bytes_min`` bytes of the file system stay free.
    """

    def __init__(
        self, root: Path | str, *, overwrite: bool = False, mode: int = 0o640, free_bytes_min: int = 0
    ) -> None:
        self._root = Path(root)
        self._overwrite = overwrite
        self._mode = mode
        self._free_bytes_min = free_bytes_min

    def put(self, name: str, chunks: Chunks, about: About | None = None) -> Receipt:
        """The receipt's location is the absolute path.

        Refused for a name outside ``root`` or a path that is not writable, Conflict if the file exists and must not be
        overwritten, StoreFull without enough space, Unavailable if the disk fails.
        """
        with closing(chunks):
            with _translated(name):
                target = self._target(name)
            create = partial(_create_file, name)
            with _unfinished(target.parent, ".part", create, os.unlink) as (part, descriptor, close):
                assert descriptor is not None
                size, sha256 = self._fill(part.parent, descriptor, name, chunks)
                if not systems.OPEN_FILES_MOVE:
                    close()
                with _translated(name):
                    self._publish(part, target, size)
        return Receipt(str(target), size, sha256)

    def open(self, location: str, start: int = 0, end: int | None = None) -> Chunks:
        """The bytes of the file at a receipt's location; NotFound if it no longer exists."""
        path = self._within(location)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise NotFound("The file is no longer in the store; it may have expired.", code="no_such_file") from None
        with file, _translated(path.name):
            left = os.fstat(file.fileno()).st_size if end is None else end
            left -= file.seek(start)
            while left > 0 and (chunk := file.read(min(left, READ_BYTES))):
                left -= len(chunk)
                yield chunk
        if left > 0:
            raise Broken(f"The file {path.name!r} is shorter than it was when it was stored.", code="store_differs")

    def url(self, location: str, expires_s: float, about: About | None = None) -> SignedUrl | None:
        """A folder has no presigned URLs."""
        return None

    def _within(self, name: str) -> Path:
        """The path of a name or a location; Refused if it is outside ``root``."""
        root = self._root.resolve(strict=True)
        target = root / name
        if not target.parent.resolve().is_relative_to(root):
            raise Refused(f"{name!r} is outside the store.", code="bad_name")
        return target

    def remove(self, name: str) -> None:
        """Delete the file with this name below ``root``, or at a receipt's location, if it exists."""
        target = self._within(name)
        with _translated(name):
            target.unlink(missing_ok=True)
        if target.parent != self._root.resolve():
            with suppress(OSError):  # the folder is not empty, or does not exist
                target.parent.rmdir()

    def sweep(self, older_than_s: float, now: float) -> list[Path]:
        """Delete files last written more than ``older_than_s`` before ``now`` (Unix time), and abandoned ones.

        Every file below ``root`` belongs to the store. Returns the deleted paths; if a file cannot be deleted, the
        sweep continues and its error is raised at the end.
        """
        deleted: list[Path] = []
        failed: list[OSError] = []
        for directory, _, names in os.walk(self._root, onerror=failed.append):
            for name in names:
                path = Path(directory, name)
                try:
                    if _swept(path, now - older_than_s):
                        deleted.append(path)
                except FileNotFoundError:
                    continue  # finished, or swept by another process
                except OSError as error:
                    failed.append(error)
        if failed:
            raise Unavailable(
                f"Expired files could not be deleted: {failed[0].strerror}; check the store.", code="sweep_failed"
            ) from failed[0]
        return deleted

    def _target(self, name: str) -> Path:
        parts = name.split("/")
        if "\0" in name or any(part in ("", ".", "..") or _PART.fullmatch(part) for part in parts):
            raise Refused(f"{name!r} cannot be the name of a stored file.", code="bad_name")
        root = self._root.resolve(strict=True)
        directory = root
        for part in parts[:-1]:
            directory /= part
            with suppress(FileExistsError):
                directory.mkdir(0o750)
                _sync(directory.parent)
            if not directory.resolve().is_relative_to(root):
                raise Refused(f"{name!r} is outside the store.", code="bad_name")
        target = directory / parts[-1]
        if target.is_dir() or (not self._overwrite and os.path.lexists(target)):
            raise _exists(name)
        return target

    def _check_free(self, directory: Path) -> None:
        if not self._free_bytes_min:
            return
        import shutil

        free = shutil.disk_usage(directory).free
        if free < self._free_bytes_min:
            raise StoreFull(
                f"Only {free:,} bytes are free in the store, {self._free_bytes_min:,} must stay free; free some space."
            )

    def _fill(self, directory: Path, descriptor: int, name: str, chunks: Chunks) -> tuple[int, str]:
        """Write and sync everything; returns size and SHA-256. Errors of ``chunks`` propagate unchanged."""
        digest = hashlib.sha256()
        size = checked = 0
        self._check_free(directory)
        for chunk in chunks:
            digest.update(chunk)
            with _translated(name):
                view = memoryview(chunk).cast("B")
                size += len(view)
                while len(view):
                    view = view[os.write(descriptor, view) :]
                if size - checked >= FREE_CHECK_BYTES:
                    self._check_free(directory)
                    checked = size
        with _translated(name):
            systems.set_mode(descriptor, self._mode)
            os.fsync(descriptor)
            os.close(os.dup(descriptor))  # reports errors at close (network file systems) without releasing the lock
            _check_size(os.fstat(descriptor), size, name)
        return size, digest.hexdigest()

    def _publish(self, part: Path, target: Path, size: int) -> None:
        if self._overwrite:
            part.replace(target)
        else:
            try:
                target.hardlink_to(part)  # unlike a rename, fails if the name exists by now
            except FileExistsError:
                raise _exists(target.name) from None
        try:
            _check_size(target.stat(), size, target.name)
            _sync(target.parent)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def remove_unfinished(directory: Path) -> None:
    """Delete what killed processes left directly in ``directory``: temporary files and folders that no running process
    has locked. What cannot be deleted stays."""
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                if _PART.fullmatch(entry.name):
                    _swept(Path(entry.path), -math.inf)
                elif _FOLDER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    if (descriptor := systems.open_folder(entry.path)) is None:
                        continue  # whether it is in use cannot be seen
                    try:
                        if systems.locked(descriptor):
                            _remove_tree(Path(entry.path))
                    finally:
                        os.close(descriptor)


@contextmanager
def hidden_folder(directory: Path) -> Iterator[Path]:
    """A folder for files that get their final names in ``directory`` later; locked while in use, then removed."""
    with _unfinished(directory, ".parts", _create_folder, _remove_tree) as (folder, *_):
        yield folder


@contextmanager
def _unfinished(
    directory: Path, suffix: str, create: Callable[[Path], int | None], remove: Callable[[Path], None]
) -> Iterator[tuple[Path, int | None, Callable[[], None]]]:
    """A new temporary file or folder, locked, its descriptor, and a function that closes that early; removed at the end
    if it still has this name.

    The name is known before it is created, so that a signal that raises in between leaves nothing.
    """
    while True:
        path, held = directory / f".fluxport-{os.urandom(8).hex()}{suffix}", ExitStack()
        try:
            descriptor = create(path)
            if descriptor is not None:
                held.callback(os.close, descriptor)
            # A sweep may have deleted it before the lock was acquired; then retry with another name.
            if descriptor is None or (systems.locked(descriptor) is not False and os.fstat(descriptor).st_nlink):
                yield path, descriptor, held.close
                return
        finally:
            # If removing fails, a sweep does it later, and an error from above is the one to report.
            with suppress(OSError):
                held.close()
            with suppress(OSError):
                remove(path)


def _create_file(name: str, path: Path) -> int:
    with _translated(name):
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | systems.flags("O_NOFOLLOW"), 0o600)


def _remove_tree(path: Path) -> None:
    import shutil  # not above: it loads the libraries of three compressions, which most exports do not need

    shutil.rmtree(path, ignore_errors=True)


def _create_folder(path: Path) -> int | None:
    path.mkdir(0o700)
    return systems.open_folder(path)


def _swept(path: Path, before: float) -> bool:
    """Delete ``path`` if it is expired, or a temporary file without a running writer; whether it was deleted."""
    if _PART.fullmatch(path.name):
        return _removed_if_abandoned(path)
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_mtime >= before:
        return False
    path.unlink()
    return True


def _removed_if_abandoned(part: Path) -> bool:
    """Delete a temporary file without a running writer; on a file system without locks nothing is ever deleted."""
    if not systems.OPEN_FILES_MOVE:
        with suppress(PermissionError):  # its writer has it open
            part.unlink()
            return True
        return False
    descriptor = os.open(part, os.O_RDONLY | systems.flags("O_NOFOLLOW"))
    try:
        if systems.locked(descriptor):
            part.unlink()
            return True
    finally:
        os.close(descriptor)
    return False


def _sync(directory: Path) -> None:
    # A folder of the store may be a link to another one in it.
    if (descriptor := systems.open_folder(directory, follow=True)) is None:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_size(status: os.stat_result, size: int, name: str) -> None:
    if status.st_size != size:
        raise Unavailable(
            f"The store holds {status.st_size:,} of the {size:,} bytes of {name!r}; the file was removed.",
            code="store_differs",
        )


def _exists(name: str) -> Conflict:
    return Conflict(f"A file or directory named {name!r} exists already; choose another name.", code="file_exists")


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Translate file system errors raised inside into ours."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or "unknown error"
        if error.errno in _FULL:
            raise StoreFull(f"No space for {name!r}: {reason}; free some or store it elsewhere.") from error
        if error.errno in _NOT_WRITABLE:
            raise Refused(f"Cannot write {name!r}: {reason}; check the directory.", code="not_writable") from error
        raise Unavailable(f"Writing {name!r} failed: {reason}; nothing was stored.", code="store_failed") from error

"""The target of an export: standard output, an open file, a device, a folder, or a store that has URLs.

:func:`target` parses a path or URL and connects to nothing; :func:`deliver` runs the export into it. A file, and each
of several files with their manifest, is stored completely or not at all. Bytes written to a descriptor or an open file
cannot be undone: there an error means that the output is incomplete.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias, TypeVar

from fluxport.errors import Refused, Unavailable, WarningsFound
from fluxport.sinks import NAMED, SCHEMES, type_at
from fluxport.systems import flags

if TYPE_CHECKING:
    from fluxport.findings import Finding
    from fluxport.plan import Export
    from fluxport.sinks.local import LocalSink
    from fluxport.sinks.options import SinkOptions
    from fluxport.stages import Chunks

T = TypeVar("T")

# The configured stores, whose settings apply to a URL; called only if the target is one.
Stores: TypeAlias = "Callable[[], Mapping[str, SinkOptions]]"

THROUGH = "-"  # the location of an export without a path or URL
REMOTE = tuple(f"{scheme}://" for scheme in SCHEMES)


# -- what was exported -------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """A column of the file: its name, and the database's name of its type."""

    name: str
    type: str


@dataclass(frozen=True)
class ExportedFile:
    """One of several files: ``bytes`` is its size, ``sha256`` lowercase hex, ``verified`` as in ExportResult."""

    location: str
    name: str
    rows: int
    bytes: int
    sha256: str
    verified: str


@dataclass(frozen=True)
class ExportResult:
    """A complete export.

    ``location`` is the absolute path, the URL or the key in the store; for several ``files`` that of their manifest;
    and ``-`` for a descriptor or an open file. ``rows`` and ``bytes`` are totals of all files. ``sha256`` (lowercase
    hex) is None if there are several files: each has its own. ``verified`` names the check by which the store confirmed
    the file: a digest (sha256, md5, crc64, crc32c) or its size; None where nothing is stored. ``truncated``: the option
    ``limit`` left out rows. ``warnings`` count the values that had to be changed.
    """

    location: str
    rows: int
    bytes: int
    sha256: str | None
    verified: str | None
    truncated: bool
    columns: tuple[Column, ...]
    warnings: tuple[Finding, ...]
    files: tuple[ExportedFile, ...] = ()

    @property
    def path(self) -> Path | None:
        """The path of a local file; None for other targets."""
        return None if self.location == THROUGH or "://" in self.location else Path(self.location)


def result(
    export: Export,
    location: str,
    sha256: str | None = None,
    verified: str | None = None,
    files: tuple[ExportedFile, ...] = (),
) -> ExportResult:
    """The result of a completed export, from its counters and its target's receipt."""
    tally = export.tally
    return ExportResult(
        location=location,
        rows=tally.rows,
        bytes=tally.size_bytes,
        sha256=sha256,
        verified=verified,
        truncated=tally.truncated,
        columns=tuple(Column(name, kind) for name, kind in tally.columns),
        warnings=tuple(export.findings),
        files=files,
    )


# -- the targets -------------------------------------------------------------------------------------------------------


class Target:
    """Where an export goes. The suffix of ``name`` may imply format and compression; with ``suffix_decides`` an unknown
    suffix is refused. ``may_split``: an export may be split into several files."""

    name = ""
    suffix_decides = False
    may_split = False

    def place(self, filename: str) -> str:
        """Where a file named ``filename`` goes: the location of its result, or a folder's and its name."""
        return THROUGH

    def take(self, export: Export, *, strict: bool) -> ExportResult:
        raise NotImplementedError


class Through(Target):
    """A device, a pipe, or standard output (None), written to directly."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.name = "" if path is None else path.name

    def take(self, export: Export, *, strict: bool) -> ExportResult:
        with closing(checked(export, export.chunks(), strict)) as chunks:
            if self.path is None:
                _write_through(1, chunks)
            else:
                descriptor = os.open(self.path, os.O_WRONLY | flags())
                try:
                    _write_through(descriptor, chunks)
                finally:
                    os.close(descriptor)
        return result(export, THROUGH, export.tally.sha256)


class OpenFile(Target):
    """A binary file opened, and to be closed, by the caller."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        named = getattr(file, "name", "")
        self.name = named if isinstance(named, str) else ""

    def take(self, export: Export, *, strict: bool) -> ExportResult:
        with closing(checked(export, export.chunks(), strict)) as chunks:
            try:
                for chunk in chunks:
                    _write(self.file, memoryview(chunk))
            except OSError as error:
                raise _output_failed(error) from error
        return result(export, THROUGH, export.tally.sha256)


class Local(Target):
    """A file, or a folder in which the file gets the export's name."""

    may_split = True

    def __init__(self, path: Path, *, is_folder: bool) -> None:
        self.path = path
        self.name = path.name
        self.is_folder = is_folder
        self.suffix_decides = not is_folder

    def place(self, filename: str) -> str:
        path = self.path / filename if self.is_folder else self.path
        if not path.parent.is_dir():
            raise Refused(f"There is no folder {str(path.parent)!r}; create it first.", code="bad_target")
        return str(path.absolute())

    def take(self, export: Export, *, strict: bool) -> ExportResult:
        path = Path(self.place(export.filename))
        from fluxport.sinks.local import remove_unfinished

        remove_unfinished(path.parent)
        export.tally.hashed = False  # the receipts have the digests
        if export.parts is not None:
            from fluxport.targets import parts

            location, files = parts.store(path, export, checked(export, export.parts(), strict), _sink)
            return result(export, location, files=_files(files))
        receipt = _sink(path.parent).put(path.name, checked(export, export.chunks(), strict))
        return result(export, receipt.location, receipt.sha256, receipt.verified)


class Remote(Target):
    """A key in a bucket of an object store, with the settings of ``stores`` or the environment, or in a named store."""

    may_split = True

    def __init__(self, url: str, stores: Stores) -> None:
        self.url = url
        self.name = url.rstrip("/").rpartition("/")[2]
        self.stores = stores
        self.suffix_decides = not url.endswith("/")

    def place(self, filename: str) -> str:
        return self.url + filename if self.url.endswith("/") else self.url

    def take(self, export: Export, *, strict: bool) -> ExportResult:
        from fluxport.partfiles import Names, manifest_name, put_parts
        from fluxport.sinks import sink
        from fluxport.sinks.urls import at_url
        from fluxport.stages import About

        entry, key = at_url(self.place(export.filename), self.stores())
        store = sink(entry, overwrite=True)
        export.tally.hashed = False  # the receipts have the digests
        folder, _, name = key.rpartition("/")
        if export.parts is None:
            receipt = store.put(key, checked(export, export.chunks(), strict), About(export.media_type, name))
            return result(export, receipt.location, receipt.sha256, receipt.verified)
        names = Names(folder and f"{folder}/", export.suffix, name, manifest_name(name, export.suffix))
        receipt, files = put_parts(store, export, checked(export, export.parts(), strict), names)
        return result(export, receipt.location, files=_files(files))


def target(to: str | os.PathLike[str] | BinaryIO, stores: Stores) -> Target:
    """The target ``to``: a path or ``file://`` URL of a file, a folder or a device, ``-`` for standard output, a URL of
    a store (``s3://bucket/key``, ``store://name/key``), or an open binary file. Refused (``bad_target``) for anything
    else."""
    if isinstance(to, os.PathLike):
        return _local(Path(to), ends=False)
    if not isinstance(to, str):
        if hasattr(to, "encoding") or not callable(getattr(to, "write", None)):
            raise Refused("The target is not a binary file; open it with mode 'wb'.", code="bad_target")
        return OpenFile(to)
    scheme, colon, _ = to.partition("://")
    if colon and (scheme == NAMED or type_at(scheme) is not None):
        return Remote(to, stores)
    if not to or (colon and scheme != "file"):
        known = ", ".join([*REMOTE, f"{NAMED}://"])
        raise Refused(f"{to!r} is not a file: use a path, a folder, - or {known}.", code="bad_target")
    if to == THROUGH:
        return Through()
    return _local(Path(to.removeprefix("file://")), ends=to.endswith("/"))


def _local(path: Path, *, ends: bool) -> Target:
    if _special(path):
        return Through(path)
    return Local(path, is_folder=ends or path.is_dir())


def _special(path: Path) -> bool:
    """Whether the path is a device or a pipe, which is written to directly and cannot be replaced."""
    try:
        return not (stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode))
    except OSError:
        return False


def form_of(at: Target, format_: str | None, compression: str | None) -> tuple[str, str]:
    """Format and compression: the arguments, else those of the target's suffix, else uncompressed CSV."""
    from fluxport.formats import FORMATS, by_suffix, compress
    from fluxport.spec import ExportSpec

    name = Path(at.name).name.lower()
    compressed_as = compress.by_suffix(name)
    if compressed_as is not None:
        name = name.removesuffix(compress.COMPRESSIONS[compressed_as].suffix)
    by_name = by_suffix(name) if format_ is None and Path(name).suffix else None
    if format_ is None and by_name is None and at.suffix_decides and Path(name).suffix:
        raise Refused(
            f"The name {Path(at.name).name!r} has no known suffix; set the format, one of: {', '.join(FORMATS)}.",
            code="unknown_format",
        )
    return format_ or by_name or ExportSpec.format, compression or compressed_as or ExportSpec.compression


# -- delivery ----------------------------------------------------------------------------------------------------------


def deliver(export: Export, to: Target, *, strict: bool = False) -> ExportResult:
    """Run the export into its target; with ``strict``, WarningsFound if any value had to be changed."""
    return to.take(export, strict=strict)


def checked(export: Export, output: Generator[T, None, None], strict: bool) -> Generator[T, None, None]:
    """The output of an export; with ``strict`` it may end in WarningsFound, before the target completes the file."""
    return _strict(export, output) if strict else output


def _strict(export: Export, output: Generator[T, None, None]) -> Generator[T, None, None]:
    with closing(output):
        yield from output
    if export.findings:
        sentences = "; ".join(finding.sentence for finding in export.findings)
        raise WarningsFound(f"Data had to be changed, which strict mode forbids: {sentences}.")


def _files(stored: Iterable[Mapping[str, Any]]) -> tuple[ExportedFile, ...]:
    names = [field.name for field in fields(ExportedFile)]
    return tuple(ExportedFile(**{name: file[name] for name in names}) for file in stored)


def _sink(folder: Path) -> LocalSink:
    from fluxport.sinks.local import LocalSink

    return LocalSink(folder, mode=0o666 & ~_umask(), overwrite=True)


def _umask() -> int:
    """The umask, read from /proc if possible: setting and restoring it would affect files that other threads create."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except OSError:
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _write(file: BinaryIO, view: memoryview) -> None:
    while view:  # a raw file may write fewer bytes
        written: int | None = file.write(view)
        if written is None:  # files that return no count write everything
            return
        view = view[written:]


def _write_through(descriptor: int, chunks: Chunks) -> None:
    try:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _output_failed(error) from error


def _output_failed(error: OSError) -> Unavailable:
    return Unavailable(f"The output could not be written: {error.strerror or error}.", code="output_failed")

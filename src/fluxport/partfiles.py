"""One export as several files with a manifest, which is stored last; or all of them in one streamed ZIP."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

from fluxport.errors import Broken, FluxportError, NotFound
from fluxport.formats import FORMATS, by_suffix, compress
from fluxport.stages import About, Chunks, Receipt, Sink, weakest

if TYPE_CHECKING:
    from fluxport.findings import Findings
    from fluxport.pipeline import Part, Tally

MANIFEST = "manifest.json"
JSON_TYPE = "application/json"


class Planned(Protocol):
    """The attributes of a planned export that are used here."""

    filename: str
    suffix: str
    media_type: str
    tally: Tally
    findings: Findings


@dataclass(frozen=True)
class PartFile:
    """One stored file, as the manifest lists it."""

    name: str
    rows: int
    bytes: int
    sha256: str


def part_name(name: str, suffix: str, number: int) -> str:
    """``name`` with the number in place of ``{part}``, else before ``suffix``."""
    if "{part}" in name:
        return name.replace("{part}", str(number))
    return f"{_stem(name, suffix)}-{number}{suffix if name.lower().endswith(suffix) else PurePath(name).suffix}"


def whole_name(name: str, suffix: str, ending: str) -> str:
    """The name of a file that represents all part files, such as their manifest or a ZIP of them."""
    stem = re.sub(r"[-_. ]*\{part\}", "", _stem(name, suffix)).strip("-_. ")
    return f"{stem or 'export'}{ending}"


def manifest_name(name: str, suffix: str) -> str:
    return whole_name(name, suffix, f".{MANIFEST}")


def _stem(name: str, suffix: str) -> str:
    return name[: -len(suffix)] if name.lower().endswith(suffix) else PurePath(name).stem


def manifest(tally: Tally, findings: Findings, files: Iterable[PartFile]) -> bytes:
    content = {
        "rows": tally.rows,
        "bytes": tally.size_bytes,
        "truncated": tally.truncated,
        "columns": [{"name": name, "type": kind} for name, kind in tally.columns],
        "warnings": [finding.to_json() for finding in findings],
        "files": [asdict(file) for file in files],
    }
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def once(data: bytes) -> Chunks:
    yield data


def put_parts(
    sink: Sink, planned: Planned, parts: Generator[Part, None, None], name_of: Names
) -> tuple[Receipt, list[dict[str, Any]]]:
    """Store all parts and their manifest. Returns the manifest's receipt, whose ``verified`` is the weakest of all, and
    the files with their locations; if anything fails, all of them are removed."""
    stored: list[str] = []
    files: list[dict[str, Any]] = []
    sink.remove(name_of.manifest)  # so that no old manifest describes the new files
    try:
        with closing(parts):
            for part in parts:
                shown = part_name(planned.filename, planned.suffix, part.number)
                name = name_of.part(part.number)
                receipt = sink.put(name, part.chunks, About(planned.media_type, shown))
                stored.append(receipt.location)
                if receipt.size_bytes != part.tally.size_bytes:
                    raise Broken(
                        "The store received a different number of bytes than was sent; the export has failed.",
                        code="store_differs",
                    )
                file = PartFile(PurePath(name).name, part.tally.rows, receipt.size_bytes, receipt.sha256)
                place = {"location": receipt.location, "filename": shown, "media_type": planned.media_type}
                files.append(place | asdict(file) | {"verified": receipt.verified})
        entries = [PartFile(f["name"], f["rows"], f["bytes"], f["sha256"]) for f in files]
        text = manifest(planned.tally, planned.findings, entries)
        about = About(JSON_TYPE, manifest_name(planned.filename, planned.suffix))
        stored_text = sink.put(name_of.manifest, once(text), about)
        return replace(stored_text, verified=weakest([stored_text.verified, *(f["verified"] for f in files)])), files
    except BaseException:
        for location in stored:
            _remove_quietly(sink, location)
        raise


def _remove_quietly(sink: Sink, location: str) -> None:
    try:
        sink.remove(location)
    except FluxportError:
        return  # the first error is the one to raise; the next attempt removes the file


@dataclass(frozen=True)
class Names:
    """The names of one export's files in a store: ``folder`` ends with a slash; parts are numbered."""

    folder: str
    suffix: str
    stem: str = ""
    manifest_of: str = MANIFEST

    def part(self, number: int) -> str:
        if self.stem:
            return self.folder + part_name(self.stem, self.suffix, number)
        return f"{self.folder}{number}{self.suffix}"

    @property
    def manifest(self) -> str:
        return self.folder + self.manifest_of


def remove_parts(sink: Sink, name_of: Names) -> None:
    """Remove an attempt's files: parts in order, up to the first that does not exist (but may be unfinished), and the
    manifest."""
    number = 1
    while True:
        name = name_of.part(number)
        there = is_there(sink, name)
        sink.remove(name)
        if not there:
            break
        number += 1
    sink.remove(name_of.manifest)


def is_there(sink: Sink, name: str) -> bool:
    try:
        with closing(sink.open(name, 0, 1)) as chunks:
            next(chunks, None)
    except NotFound:
        return False
    return True


# -- ZIP -----------------------------------------------------------------------------------------------------------

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that the same rows give the same bytes


def zipped(members: Iterable[tuple[str, Chunks]]) -> Chunks:
    """A streamed ZIP (ZIP64) of the files, each pulled to its end before the next one is opened."""
    import zipfile

    out = _Out()
    with zipfile.ZipFile(out, "w", compresslevel=1) as archive:
        for name, chunks in members:
            with closing(chunks):
                info = zipfile.ZipInfo(name, _ZIP_TIME)
                info.compress_type = zipfile.ZIP_STORED if _is_compressed(name) else zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                with archive.open(info, "w", force_zip64=True) as member:
                    for chunk in chunks:
                        member.write(chunk)
                        yield from out.taken()
            yield from out.taken()
    yield from out.taken()


def _is_compressed(name: str) -> bool:
    """Whether a file is compressed already: deflating it again takes time and saves nothing."""
    format_name = by_suffix(name)
    return compress.by_suffix(name) is not None or (format_name is not None and FORMATS[format_name].packed)


def zip_of_parts(
    parts: Generator[Part, None, None], name_of: Callable[[int], str], inner: Tally, tally: Tally, findings: Findings
) -> Chunks:
    """A ZIP of the parts and their manifest. ``inner`` counts what the parts hold, ``tally`` the bytes of the ZIP."""

    def members() -> Iterator[tuple[str, Chunks]]:
        files = []
        for part in parts:
            yield name_of(part.number), part.chunks
            files.append(PartFile(name_of(part.number), part.tally.rows, part.tally.size_bytes, part.tally.sha256))
        yield MANIFEST, once(manifest(inner, findings, files))

    with closing(parts):
        for chunk in zipped(members()):
            tally.rows, tally.columns, tally.truncated = inner.rows, inner.columns, inner.truncated
            tally.add(chunk)
            yield chunk
    tally.complete = inner.complete


class _Out(io.RawIOBase):
    """Buffers what the archive writes; unseekable, so that the archive writes the sizes after each file."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held.append(bytes(data))
        return len(self._held[-1])

    def taken(self) -> Iterator[bytes]:
        held, self._held = self._held, []
        if held:
            yield b"".join(held)

"""One export as several files in a folder, with a manifest that lists them: all of them, or none."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxport.errors import Refused
from fluxport.partfiles import PartFile, manifest, manifest_name, once, part_name
from fluxport.sinks.local import LocalSink, hidden_folder

if TYPE_CHECKING:
    from fluxport.pipeline import Part
    from fluxport.plan import Export


def store(
    path: Path, planned: Export, parts: Generator[Part, None, None], sink: Callable[[Path], LocalSink]
) -> tuple[str, list[dict[str, Any]]]:
    """The location of the manifest, which is stored last, and the files with their locations.

    The files stay in a hidden folder until the last one is complete: if the export fails nothing is left, and older
    files with the same names are unchanged.
    """
    planned.tally.hashed = False  # each receipt has the digest
    with hidden_folder(path.parent) as hidden, closing(parts):
        files = list(_stored(path.name, planned, parts, sink(hidden)))
        text = manifest(planned.tally, planned.findings, files)
        with _moved([file.name for file in files], hidden, path.parent):
            # Storing the manifest syncs the folder, and with it the new names.
            receipt = sink(path.parent).put(manifest_name(path.name, planned.suffix), once(text))
    folder = Path(receipt.location).parent
    return receipt.location, [
        {"location": str(folder / file.name), **asdict(file), "verified": receipt.verified} for file in files
    ]


@contextmanager
def _moved(names: list[str], hidden: Path, folder: Path) -> Iterator[None]:
    """Files moved from ``hidden`` to ``folder``; moved back, and older ones restored, if a move or the block fails."""
    with ExitStack() as undo:
        try:
            for name in names:
                new, target, older = hidden / name, folder / name, hidden / f"older {name}"
                if target.is_dir():
                    raise IsADirectoryError(errno.EISDIR, "it is a directory")
                # Before the moves, as an interrupt may come between any two statements.
                undo.callback(_move_back, new, target, older)
                with suppress(FileNotFoundError):
                    target.rename(older)
                new.rename(target)
        except OSError as error:
            raise Refused(f"Cannot write {name!r}: {error.strerror}.", code="not_writable") from error
        yield
        undo.pop_all()


def _move_back(new: Path, target: Path, older: Path) -> None:
    if not new.exists():
        target.rename(new)
    if older.exists():
        older.rename(target)


def _stored(name: str, planned: Export, parts: Iterator[Part], sink: LocalSink) -> Iterator[PartFile]:
    for part in parts:
        receipt = sink.put(part_name(name, planned.suffix, part.number), part.chunks)
        yield PartFile(Path(receipt.location).name, part.tally.rows, receipt.size_bytes, receipt.sha256)

"""Tables of components, which other packages can extend.

A component is a row of a table: all that the rest of the program knows about it. Another package adds one by an entry
point whose group is the table's, whose name is the component's, and whose object is its row::

    [project.entry-points."fluxport.formats"]
    toml = "fluxport_toml:FORMAT"

A built-in name is found without looking further, and none can be replaced. The entry points of the environment are read
once per process, and only when a name is not built in or all are listed: that takes 10 to 100 ms. A package is imported
when its row is read. One that cannot be, or whose object is no such row, is reported in one sentence: in the log when
all are listed, as the error when it is asked for by its name. It never stops anything else.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fluxport.errors import Broken

if TYPE_CHECKING:
    import logging
    from importlib.metadata import EntryPoint


_NAME = re.compile(r"[a-z][a-z0-9+._-]{0,31}")


class Row(Protocol):
    """What every row has: ``aliases``, the other names by which the component is asked for."""

    @property
    def aliases(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=Row)


class Table(Mapping[str, R]):
    """Rows by name: the ``built_in`` ones in their order, then those of other packages by name.

    ``kind`` is the component's noun, such as "format"; the group of its entry points is ``fluxport.<kind>s``. Reading a
    row by the name of a package's component that cannot be loaded raises Broken; listing leaves it out.
    """

    def __init__(self, kind: str, row: type[R], built_in: Mapping[str, R]) -> None:
        self.kind = kind
        self.group = f"fluxport.{kind}s"
        self.built_in = built_in
        self._row = row
        self._built_in_aliases = {alias: name for name, found in built_in.items() for alias in found.aliases}
        self._loaded: dict[str, R | str] = {}  # a row, or the sentence that says why there is none

    def __getitem__(self, name: str) -> R:
        if name in self.built_in:
            return self.built_in[name]
        found = self._load(name)
        if isinstance(found, str):
            raise Broken(found, code="broken_plugin")
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self._entries

    def __iter__(self) -> Iterator[str]:
        yield from self.built_in
        yield from self._others

    def __len__(self) -> int:
        return len(self.built_in) + len(self._others)

    def attribute(self, name: str, module: str, attribute: str) -> Any:
        """What the row ``name`` calls ``module`` and ``attribute``, imported now; Broken where another package does
        not have it."""
        if name in self.built_in:
            return getattr(importlib.import_module(module), attribute)
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            why = f"importing {module}:{attribute} raised {type(error).__name__}"
            raise Broken(self._cannot(self._entries[name], why), code="broken_plugin") from error

    def find(self, name: str) -> str | None:
        """The name in this table that ``name`` or an alias stands for, in any case; None where there is none."""
        name = name.lower()
        if name in self.built_in:
            return name
        if name in self._built_in_aliases:
            return self._built_in_aliases[name]
        if name in self._entries:
            return name
        return next((other for other, row in self._others.items() if name in row.aliases), None)

    def package(self, name: str) -> str:
        """The package that brings ``name``, with its version; empty for what is built in."""
        return "" if name in self.built_in else _package(self._entries[name])

    def broken(self) -> Mapping[str, str]:
        """The sentence of each component of another package that cannot be loaded, by its name."""
        loaded = {name: self._load(name) for name in self._entries}
        return {name: found for name, found in loaded.items() if isinstance(found, str)}

    @cached_property
    def _entries(self) -> Mapping[str, EntryPoint]:
        from importlib.metadata import entry_points

        found: dict[str, EntryPoint] = {}
        for entry in sorted(entry_points(group=self.group), key=lambda e: (e.name, _package(e))):
            taken = "built in" if entry.name in self.built_in or entry.name in self._built_in_aliases else ""
            if entry.name in found:
                taken = f"that of {_package(found[entry.name])}"
            if taken:
                _log().warning(
                    "The %s %r of %s is not used: this name is %s.", self.kind, entry.name, _package(entry), taken
                )
            else:
                found[entry.name] = entry
        return found

    @cached_property
    def _others(self) -> Mapping[str, R]:
        for sentence in self.broken().values():
            _log().warning("%s", sentence)
        return {name: found for name in self._entries if not isinstance(found := self._load(name), str)}

    def _load(self, name: str) -> R | str:
        """The row of another package, or why it cannot be used; KeyError for a name that none has."""
        if name not in self._loaded:
            entry = self._entries[name]
            try:
                row = entry.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001  whatever the other package raises
                _log().debug("loading %s", entry.value, exc_info=True)
                self._loaded[name] = self._cannot(entry, f"importing {entry.value} raised {type(error).__name__}")
            else:
                self._loaded[name] = self._checked(entry, row)
        return self._loaded[name]

    def _checked(self, entry: EntryPoint, row: object) -> R | str:
        if not _NAME.fullmatch(entry.name):
            return self._cannot(entry, "its name is not 1 to 32 lower-case letters, digits and signs of +._-")
        if not isinstance(row, self._row):
            return self._cannot(entry, f"{entry.value} is not a {self._row.__module__}.{self._row.__name__}")
        return row

    def _cannot(self, entry: EntryPoint, why: str) -> str:
        return (
            f"The {self.kind} {entry.name!r} of the package {_package(entry)} cannot be used: {why}; repair or remove "
            "the package."
        )


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown package"


def _log() -> logging.Logger:
    """Loaded when something is to be said: the table itself is read at every start."""
    import logging

    return logging.getLogger("fluxport.plugins")

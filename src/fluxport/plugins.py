"""Tables of components, which other packages can extend.

A component is a row of a table: all that the rest of the program knows about it. Another package adds a component by an
entry point in the table's group, which has the component's name and refers to the row::

    [project.entry-points."fluxport.formats"]
    toml = "fluxport_toml:FORMAT"

Built-in components cannot be replaced. The environment's entry points are read once per process, and only if a name is
not built in or all are listed, as that takes 10 to 100 ms. A package is imported when its row is read. One that cannot
be imported, or whose object is not such a row, is reported in one sentence: in the log when all are listed, as an error
when it is requested by name. It never affects other components.
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


imported: list[str] = []  # the objects of other packages that were imported, or tried to be
_NAME = re.compile(r"[a-z][a-z0-9+._-]{0,31}")


class Row(Protocol):
    """What every row has: ``aliases``, other names of the component."""

    @property
    def aliases(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=Row)


class Table(Mapping[str, R]):
    """Rows by name: the ``built_in`` ones in their order, then those of other packages by name.

    ``kind`` is the component's noun, such as "format"; the entry point group is ``fluxport.<kind>s``. Reading the row
    of another package's component that cannot be loaded raises Broken; listing omits it.
    """

    def __init__(self, kind: str, row: type[R], built_in: Mapping[str, R]) -> None:
        self.kind = kind
        self.group = f"fluxport.{kind}s"
        self.built_in = built_in
        self._row = row
        self._built_in_aliases = {alias: name for name, row in built_in.items() for alias in row.aliases}
        self._loaded: dict[str, R | str] = {}  # a row, or the sentence why it cannot be used

    def __getitem__(self, name: str) -> R:
        if name in self.built_in:
            return self.built_in[name]
        loaded = self._load(name)
        if isinstance(loaded, str):
            raise Broken(loaded, code="broken_plugin")
        return loaded

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self._entries

    def __iter__(self) -> Iterator[str]:
        yield from self.built_in
        yield from self._others

    def __len__(self) -> int:
        return len(self.built_in) + len(self._others)

    def attribute(self, name: str, module: str, attribute: str) -> Any:
        """Import ``attribute`` of ``module``, as the row ``name`` specifies; Broken if another package lacks it."""
        if name in self.built_in:
            return getattr(importlib.import_module(module), attribute)
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:  # whatever the other package raises
            why = f"importing {module}:{attribute} raised {type(error).__name__}"
            raise Broken(self._cannot(self._entries[name], why), code="broken_plugin") from error

    def find(self, name: str) -> str | None:
        """The component that ``name``, an alias or another case of either refers to; None if there is none."""
        name = name.lower()
        if name in self.built_in:
            return name
        if name in self._built_in_aliases:
            return self._built_in_aliases[name]
        if name in self._entries:
            return name
        return next((other for other, row in self._others.items() if name in row.aliases), None)

    def package(self, name: str) -> str:
        """The package that provides ``name``, with its version; empty for a built-in component."""
        return "" if name in self.built_in else _package(self._entries[name])

    def broken(self) -> Mapping[str, str]:
        """The components of other packages that cannot be loaded: the reason by name."""
        loaded = {name: self._load(name) for name in self._entries}
        return {name: reason for name, reason in loaded.items() if isinstance(reason, str)}

    @cached_property
    def _entries(self) -> Mapping[str, EntryPoint]:
        from importlib.metadata import entry_points

        entries: dict[str, EntryPoint] = {}
        for entry in sorted(entry_points(group=self.group), key=lambda e: (e.name, _package(e))):
            taken = "built in" if entry.name in self.built_in or entry.name in self._built_in_aliases else ""
            if entry.name in entries:
                taken = f"that of {_package(entries[entry.name])}"
            if taken:
                _log().warning(
                    "The %s %r of %s is not used: this name is %s.", self.kind, entry.name, _package(entry), taken
                )
            else:
                entries[entry.name] = entry
        return entries

    @cached_property
    def _others(self) -> Mapping[str, R]:
        for sentence in self.broken().values():
            _log().warning("%s", sentence)
        return {name: row for name in self._entries if not isinstance(row := self._load(name), str)}

    def _load(self, name: str) -> R | str:
        """The row of another package, or why it cannot be used; KeyError for an unknown name."""
        if name not in self._loaded:
            entry = self._entries[name]
            imported.append(entry.value)
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
    """Imported only to log: every start reads this module."""
    import logging

    return logging.getLogger("fluxport.plugins")

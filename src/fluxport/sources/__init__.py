"""Sources of rows: each kind of database is one package here and one row of SOURCES."""

from __future__ import annotations

from pathlib import Path

from fluxport.findings import Findings
from fluxport.sources.table import (
    QUERIES_MAX,
    SOURCES,
    Params,
    SourceEntry,
    SourceOptions,
    dialect_of,
    guard_of,
    open_here,
    scheme_of,
    source_of,
)
from fluxport.sources.watched import WatchedSource
from fluxport.stages import Limits, Source
from fluxport.systems import FORKS

__all__ = [
    "QUERIES_MAX",
    "SOURCES",
    "Params",
    "SourceEntry",
    "SourceOptions",
    "dialect_of",
    "guard_of",
    "open_source",
    "scheme_of",
    "source_of",
]


def open_source(
    url: str,
    query: str,
    params: Params = (),
    *,
    options: SourceOptions | None = None,
    findings: Findings | None = None,
    limits: Limits | None = None,
) -> Source:
    """A source for the rows of ``query``; it connects when its ``schema`` is first read.

    ``params`` are bound by the database, never put into the text: a sequence for ``?``, a mapping for ``:name``.
    Refused if the URL is wrong; the message never repeats the URL, which may hold a password.
    """
    options = options if options is not None else SourceOptions()
    findings = findings if findings is not None else Findings()  # empty Findings are falsy
    limits = limits if limits is not None else Limits()
    if "ssh" in url.rpartition("?")[2].lower():
        from fluxport.sources.tunnels import TunnelSource, without_tunnel

        if without_tunnel(url)[1] is not None:
            return TunnelSource(url, query, params, options, findings, limits)
    source = open_here(url, query, params, options, findings, limits)
    apart = options.separate or isinstance(options.files, Path) or isinstance(source, WatchedSource)
    if apart and FORKS and SOURCES[source_of(url)].embedded:  # open_here has validated the arguments
        from fluxport.sources.separate import LEAVE_S, SeparateSource

        leave_s = LEAVE_S if isinstance(source, WatchedSource) else 0.0
        return SeparateSource(url, query, params, options, findings, limits, leave_s=leave_s)
    return source

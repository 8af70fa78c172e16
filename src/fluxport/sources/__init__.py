"""Where rows are read: one kind of database is one package here and one row of the table."""

from __future__ import annotations

from fluxport.findings import Findings
from fluxport.sources.table import (
    QUERIES_MAX,
    SOURCES,
    Params,
    SourceEntry,
    SourceOptions,
    open_here,
    scheme_of,
    source_of,
)
from fluxport.stages import Limits, Source

__all__ = ["QUERIES_MAX", "SOURCES", "Params", "SourceEntry", "SourceOptions", "open_source", "scheme_of", "source_of"]


def open_source(
    url: str,
    query: str,
    params: Params = (),
    *,
    options: SourceOptions | None = None,
    findings: Findings | None = None,
    limits: Limits | None = None,
) -> Source:
    """A source for the rows of ``query``; nothing is connected before its ``schema`` is read.

    ``params`` are bound by the database, never put into the text: a sequence for ``?``, a mapping for ``:name``.
    Refused if the URL is wrong; the message never repeats it, for it may hold a password.
    """
    options = options if options is not None else SourceOptions()
    findings = findings if findings is not None else Findings()  # one that counted nothing yet is false
    limits = limits if limits is not None else Limits()
    made = open_here(url, query, params, options, findings, limits)
    if options.separate and SOURCES[source_of(url)].embedded:  # what was made has shown that it can be
        from fluxport.sources.separate import SeparateSource

        return SeparateSource(url, query, params, options, findings, limits)
    return made

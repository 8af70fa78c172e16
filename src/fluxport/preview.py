"""The preview of an export: its first rows, read as the export would read them, within limits of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fluxport.findings import Finding, Findings
from fluxport.formats.names import unique_names
from fluxport.stages import Limits

if TYPE_CHECKING:
    from fluxport.plan import Export
    from fluxport.spec import ExportSpec

PREVIEW_LIMITS = Limits(bytes_max=8 << 20, cell_bytes_max=1 << 20, deadline_s=30.0)
OPTIONS = ("columns", "timezone")  # of the format, those that change rows


@dataclass(frozen=True)
class Preview:
    """``rows`` is a JSON array of objects; ``truncated``: the result has more rows. Each column is (name, type, key);
    its key in the objects differs from its name if that is empty or occurs twice."""

    columns: list[tuple[str, str, str]]
    rows: str
    truncated: bool
    warnings: tuple[Finding, ...] = ()


def preview_spec(spec: ExportSpec) -> ExportSpec:
    """The request for a preview of the export that ``spec`` requests."""
    options = {name: spec.options[name] for name in OPTIONS if name in spec.options}
    return replace(spec, format="json", compression="none", options=options)


def read(export: Export) -> Preview:
    """Read the planned export of a :func:`preview_spec`."""
    text = b"".join(export.chunks()).decode()
    tally = export.tally
    keys = unique_names([name for name, _ in tally.columns], Findings())
    columns = [(name, kind, key) for (name, kind), key in zip(tally.columns, keys, strict=True)]
    return Preview(
        columns, text, tally.truncated, tuple(finding for finding in export.findings if finding.code != "limit_reached")
    )

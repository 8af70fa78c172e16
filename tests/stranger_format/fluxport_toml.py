"""TOML for Fluxport: each row is one table of an array of tables."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fluxport.findings import Findings
from fluxport.formats import Format
from fluxport.formats.names import unique_names
from fluxport.formats.options import CommonOptions, option
from fluxport.stages import Batches, Chunks

if TYPE_CHECKING:
    import pyarrow as pa

TOML = Format(__name__, "TomlOptions", "TomlEncoder", "TOML", suffixes=(".toml",), media_type="application/toml")


@dataclass(frozen=True, kw_only=True)
class TomlOptions(CommonOptions):
    table: str = option("rows", "the name of the array")


class TomlEncoder:
    def __init__(self, options: TomlOptions, findings: Findings) -> None:
        self._options, self._findings = options, findings

    def encode(self, schema: pa.Schema, batches: Batches) -> Chunks:
        from fluxport.formats.text import TextStyle, text_of  # loads Arrow, which listing the formats must not

        with closing(batches):
            keys = [json.dumps(name) for name in unique_names(schema.names, self._findings)]
            yield f"# {', '.join(keys)}\n".encode()
            for batch in batches:
                texts = [text_of(column, field, TextStyle()) for column, field in zip(batch, schema, strict=True)]
                for row in zip(*(text.to_pylist() for text in texts), strict=True):
                    lines = [
                        f"{key} = {quoted(cell)}\n" for key, cell in zip(keys, row, strict=True) if cell is not None
                    ]
                    yield f"[[{self._options.table}]]\n{''.join(lines)}".encode()


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

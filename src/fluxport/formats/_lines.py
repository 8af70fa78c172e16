"""String columns joined to lines, as fast as Arrow can: by its CSV writer, twice as fast as any of its join kernels.

The writer is told to quote nothing, and then refuses cells that hold a quote, the delimiter or a line end. So those
characters travel through it as bytes that UTF-8 never has, and are put back in what it wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import csv

from fluxport import compute as pc
from fluxport.arrow_strings import bytes_of, string_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUOTE, _LF, _CR, _DELIMITER = 0xF8, 0xF9, 0xFA, 0xFB
_BLOCK = 1 << 18  # as much as stays in the cache between the steps on it
_ROWS = 2048  # at a time through the writer, for the same reason
_APPEND_AT = 1 << 40  # past the end of any string, where a slice is empty


class Lines:
    """Joins the cells of rows with ``delimiter`` (one ASCII character) and ends rows with ``end``."""

    def __init__(self, delimiter: str, end: str) -> None:
        self._hidden = {34: _QUOTE, 10: _LF, 13: _CR, ord(delimiter): _DELIMITER}
        self._shown = np.zeros(8, np.uint8)
        for byte, code in self._hidden.items():
            self._shown[code - _QUOTE] = byte
        self._options = csv.WriteOptions(
            include_header=False, batch_size=_ROWS, delimiter=delimiter, eol=end, quoting_style="none"
        )

    def special(self, text: pa.StringArray) -> NDArray[np.bool_] | None:
        """Which bytes of ``text`` are special, or None for none."""
        data = bytes_of(text)
        found = None
        for byte in self._hidden:
            hits = data == byte
            if hits.any():
                found = hits if found is None else found | hits
        return found

    def hide(self, text: pa.StringArray) -> pa.StringArray:
        """``text`` with its special characters hidden, as cells have to be; not valid UTF-8 if there are any."""
        data = bytes_of(text)
        changed = None
        for byte, code in self._hidden.items():
            hits = data == byte
            if hits.any():
                changed = data.copy() if changed is None else changed
                changed += hits.view(np.uint8) * np.uint8(code - byte)
        if changed is None:
            return text
        offsets, _ = string_window(text)
        bitmap = pc.is_valid(text).buffers()[1] if text.null_count else None
        return pa.StringArray.from_buffers(
            len(text), pa.py_buffer(offsets - offsets[0]), pa.py_buffer(changed), bitmap, text.null_count
        )

    def hidden(self, constant: str) -> bytes:
        """The bytes that stand for ``constant``."""
        return constant.encode().translate(bytes(self._hidden.get(byte, byte) for byte in range(256)))

    def enclosed(self, cells: pa.StringArray, before: str, after: str) -> pa.StringArray:
        """``cells`` with constants around every value but null."""
        if before:
            cells = pc.binary_replace_slice(cells, 0, 0, self.hidden(before))
        if after:
            cells = pc.binary_replace_slice(cells, _APPEND_AT, _APPEND_AT, self.hidden(after))
        return cells

    def filled(self, cells: pa.StringArray, constant: str) -> pa.StringArray:
        """``cells`` with ``constant`` in place of null."""
        if cells.null_count == 0:
            return cells
        data = self.hidden(constant)
        offsets = np.array([0, len(data)], np.int32)
        return pc.fill_null(cells, pa.StringArray.from_buffers(1, pa.py_buffer(offsets), pa.py_buffer(data))[0])

    def join(self, columns: list[pa.StringArray]) -> NDArray[np.uint8]:
        """The lines of all rows; null is written as nothing."""
        rows = pa.RecordBatch.from_arrays(columns, [""] * len(columns))
        size = sum(len(bytes_of(column)) for column in columns)
        buffer = pa.allocate_buffer(size + rows.num_rows * (len(columns) - 1 + len(self._options.eol)))
        sink = pa.FixedSizeBufferWriter(buffer)
        csv.write_csv(rows, sink, write_options=self._options)
        lines = np.frombuffer(buffer, np.uint8, sink.tell())
        highest = lines.max()
        if highest >= _QUOTE:  # where there are any there are many; the others are rare
            for start in range(0, len(lines), _BLOCK):
                block = lines[start : start + _BLOCK]
                block -= (block == _QUOTE).view(np.uint8) * np.uint8(_QUOTE - 34)
        if highest > _QUOTE:
            at = np.flatnonzero(lines > _QUOTE)
            lines[at] = self._shown[lines[at] - _QUOTE]
        return lines

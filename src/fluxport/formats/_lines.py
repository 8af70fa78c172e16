"""String columns joined into lines by Arrow's CSV writer, which is twice as fast as its join kernels.

With quoting disabled, the writer rejects cells that contain a quote, the delimiter or a line end. Those characters are
therefore replaced by bytes that never occur in UTF-8, and restored in the writer's output:

    character      "     LF    CR    delimiter
    in the writer  F8    F9    FA    FB

    cell, quoted by csv.py   "   s  a  y     "   "   h  i  "   "   "
    in the writer            F8  s  a  y     F8  F8  h  i  F8  F8  F8
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
_BLOCK = 1 << 18  # bytes that stay in the cache from one step to the next
_ROWS = 2048  # written at a time, for the same reason
_APPEND_AT = 1 << 40  # past the end of any string, where a slice is empty


class Lines:
    """Joins the cells of each row with ``delimiter`` (one ASCII character) and ends each row with ``end``."""

    def __init__(self, delimiter: str, end: str) -> None:
        self._hidden = {34: _QUOTE, 10: _LF, 13: _CR, ord(delimiter): _DELIMITER}
        self._restored = np.zeros(8, np.uint8)
        for byte, code in self._hidden.items():
            self._restored[code - _QUOTE] = byte
        self._options = csv.WriteOptions(
            include_header=False, batch_size=_ROWS, delimiter=delimiter, eol=end, quoting_style="none"
        )

    def special(self, text: pa.StringArray) -> NDArray[np.bool_] | None:
        """A mask of the special bytes of ``text``; None if there are none."""
        data = bytes_of(text)
        mask = None
        for byte in self._hidden:
            hits = data == byte
            if hits.any():
                mask = hits if mask is None else mask | hits
        return mask

    def hide(self, text: pa.StringArray) -> pa.StringArray:
        """``text`` with its special characters hidden, as :meth:`join` requires; not valid UTF-8 if there are any."""
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
        """``constant`` with its special characters hidden."""
        return constant.encode().translate(bytes(self._hidden.get(byte, byte) for byte in range(256)))

    def enclosed(self, cells: pa.StringArray, before: str, after: str) -> pa.StringArray:
        """``cells`` with constants around every value that is not null."""
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
        """The lines of all rows; a null cell is empty."""
        rows = pa.RecordBatch.from_arrays(columns, [""] * len(columns))
        size = sum(len(bytes_of(column)) for column in columns)
        buffer = pa.allocate_buffer(size + rows.num_rows * (len(columns) - 1 + len(self._options.eol)))
        sink = pa.FixedSizeBufferWriter(buffer)
        csv.write_csv(rows, sink, write_options=self._options)
        lines = np.frombuffer(buffer, np.uint8, sink.tell())
        highest = lines.max()
        if highest >= _QUOTE:  # quotes are frequent, the others rare
            for start in range(0, len(lines), _BLOCK):
                block = lines[start : start + _BLOCK]
                block -= (block == _QUOTE).view(np.uint8) * np.uint8(_QUOTE - 34)
        if highest > _QUOTE:
            at = np.flatnonzero(lines > _QUOTE)
            lines[at] = self._restored[lines[at] - _QUOTE]
        return lines

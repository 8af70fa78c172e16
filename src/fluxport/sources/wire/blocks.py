"""Blocks of whole rows in memory, and the views that their cells are read through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Positions: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Numbers: TypeAlias = npt.NDArray[Any]


class Window:
    """Memory that cells are read from, as numpy and Arrow views; created once per buffer.

    ``numbers[w]`` has the unsigned integers of w bytes in the given byte order, overlapping, one at every offset.
    """

    def __init__(self, memory: bytearray | bytes, order: Literal["<", ">"] = "<") -> None:
        self.memory = memory
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(memory, np.uint8)
        self.arrow = pa.py_buffer(memory)
        self.numbers: dict[int, Numbers] = {
            width: np.ndarray((len(memory) - width + 1,), f"{order}u{width}", memory, strides=(1,))
            for width in (2, 4, 8)
        }
        self.numbers[1] = self.bytes


@dataclass
class Block:
    """Whole rows: ``starts`` is the position of each row's payload in the window, ``ends`` the position after it.

    ``first_row`` counts from 1. ``owned``: no other block uses the memory, so Arrow arrays may reference it.
    """

    window: Window
    starts: Positions
    ends: Positions
    first_row: int
    owned: bool = False

    def __len__(self) -> int:
        return len(self.starts)

    def halves(self) -> tuple[Block, Block]:
        """The first half of the rows and the others, of a block of two rows or more."""
        half = len(self) // 2
        first = replace(self, starts=self.starts[:half], ends=self.ends[:half])
        return first, replace(self, starts=self.starts[half:], ends=self.ends[half:], first_row=self.first_row + half)

"""Arrow arrays made without the detours that are felt when a slice has many columns."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fluxport import compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray


@lru_cache(maxsize=1024)
def literal(text: str) -> pa.Scalar:
    """``text`` for a kernel; without a type pyarrow looks for pandas each time, which takes longer than the kernel."""
    return pa.scalar(text, pa.string())


def join(*parts: Any, null: str | None = None) -> pa.Array:
    """Strings and string arrays joined row by row; a null among them makes the row null, or counts as ``null``."""
    columns = [literal(part) if isinstance(part, str) else part for part in parts]
    if null is None:
        return pc.binary_join_element_wise(*columns, literal(""))
    return pc.binary_join_element_wise(*columns, literal(""), null_handling="replace", null_replacement=null)


def strings(offsets: NDArray[np.int32], data: Any) -> pa.Array:
    """A string array over buffers, which it keeps but does not copy."""
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def numpy_mask(mask: pa.Array) -> NDArray[np.bool_]:
    """A boolean array for numpy, null as False."""
    made: NDArray[np.bool_] = (pc.fill_null(mask, False) if mask.null_count else mask).to_numpy(zero_copy_only=False)
    return made


def valid(array: pa.Array) -> NDArray[np.bool_]:
    """Where ``array`` is not null."""
    made: NDArray[np.bool_] = pc.is_valid(array).to_numpy(zero_copy_only=False)
    return made

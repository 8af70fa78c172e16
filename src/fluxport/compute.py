"""Arrow's compute functions without the cost of importing ``pyarrow.compute``.

That module builds a documented Python function for each of some 300 kernels, which takes a tenth of a command's start
time and 2 MB. Here a function is built when it is first used. ``array.cast()``, ``take()``, ``filter()`` and the like
load that module too, so code that runs in every export calls the functions here instead. They behave like Arrow's own.
Functions that are more than a kernel, or whose options are unknown, come from ``pyarrow.compute``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import _compute

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Functions of ``pyarrow.compute`` that do more than call their kernel.
_MORE_THAN_A_KERNEL = frozenset({"bottom_k_unstable", "field", "index", "random", "scalar", "top_k_unstable"})


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    function = globals()[name] = _load(name)
    return function


def _load(name: str) -> Any:
    try:
        if name not in _MORE_THAN_A_KERNEL:
            return _function(name)
    except (AttributeError, KeyError):
        pass
    return getattr(importlib.import_module("pyarrow.compute"), name)


def _function(name: str) -> Callable[..., Any]:
    """The kernel ``name`` as a function: its arrays first, then its options by position or name."""
    kernel = _compute.get_function(name.rstrip("_"))  # and_, or_
    arity = kernel.arity
    options = getattr(_compute, kernel._doc.options_class) if kernel._doc.options_class else None

    def call(*args: Any, **named: Any) -> Any:
        arrays, rest = (args, ()) if arity is Ellipsis else (args[:arity], args[arity:])
        arrays = tuple(literal(array) if isinstance(array, str) else array for array in arrays)
        if not rest and not named:
            return kernel.call(arrays)
        if options is None:
            raise TypeError(f"{name} takes {arity} arguments and no options")
        return kernel.call(arrays, options(*rest, **named))

    return call


def from_numpy(values: NDArray[Any], kind: Any = None) -> Any:
    """An array over ``values`` (one dimension), as ``kind`` if that is another type of the same width.

    ``pa.array`` loads numpy's masked arrays to check for one.
    """
    if values.dtype == np.bool_:
        return pa.Array.from_buffers(
            pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))]
        )
    kind = pa.from_numpy_dtype(values.dtype) if kind is None else kind
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def from_strings(values: Sequence[str]) -> Any:
    """A string array of ``values``; ``pa.array`` tries to import pandas first."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


@lru_cache(maxsize=1024)
def literal(text: str) -> Any:
    """A string scalar for a kernel; ``pa.scalar`` tries to import pandas, which takes longer than the kernel."""
    return from_strings([text])[0]


def cast(array: Any, to: Any, *, safe: bool = True) -> Any:
    """``array`` as the type ``to``; pa.ArrowInvalid if that would lose data and ``safe`` is true."""
    options = _compute.CastOptions.safe(to) if safe else _compute.CastOptions.unsafe(to)
    return _compute.call_function("cast", [array], options)


def take(array: Any, at: Any, *, checked: bool = True) -> Any:
    """The values at the indices ``at``, null where those are; an index out of bounds is an error if ``checked``."""
    return _compute.call_function("take", [array, at], _compute.TakeOptions(boundscheck=checked))


def fill_null(array: Any, value: Any) -> Any:
    """``array`` with nulls replaced by ``value``, a scalar or an array of equal length."""
    if not isinstance(value, (pa.Scalar, pa.Array, pa.ChunkedArray)):
        value = pa.scalar(value, type=array.type)
    elif array.type != value.type:
        value = value.cast(array.type)
    return _compute.call_function("coalesce", [array, value])

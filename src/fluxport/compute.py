"""Arrow's compute functions without what importing ``pyarrow.compute`` costs.

That module makes a documented Python function of each of some 300 kernels, which takes a tenth of the start of a
command and 2 MB. Here one is made when it is first asked for. ``array.cast()``, ``take()``, ``filter()`` and the like
load that module too: what runs in every export calls the functions here instead. They behave as Arrow's own; what
is no kernel alone, or tells too little of itself, comes from there.
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

# Kernels whose function is not the kernel alone.
_MORE_THAN_A_KERNEL = frozenset({"bottom_k_unstable", "field", "index", "random", "scalar", "top_k_unstable"})


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    made = globals()[name] = _made(name)
    return made


def _made(name: str) -> Any:
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

    def call(*given: Any, **named: Any) -> Any:
        arrays, rest = (given, ()) if arity is Ellipsis else (given[:arity], given[arity:])
        arrays = tuple(literal(one) if isinstance(one, str) else one for one in arrays)
        if not rest and not named:
            return kernel.call(arrays)
        if options is None:
            raise TypeError(f"{name} takes {arity} arguments and no options")
        return kernel.call(arrays, options(*rest, **named))

    return call


def from_numpy(values: NDArray[Any], kind: Any = None) -> Any:
    """An array over ``values`` (one dimension), as ``kind`` if that is another type of the same width.

    ``pa.array`` loads numpy's masked arrays to see whether it was given one.
    """
    if values.dtype == np.bool_:
        return pa.Array.from_buffers(
            pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))]
        )
    kind = pa.from_numpy_dtype(values.dtype) if kind is None else kind
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def from_strings(values: Sequence[str]) -> Any:
    """A string array of ``values``; ``pa.array`` looks for pandas first."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


@lru_cache(maxsize=1024)
def literal(text: str) -> Any:
    """A string for a kernel; ``pa.scalar`` looks for pandas, which takes longer than the kernel."""
    return from_strings([text])[0]


def cast(array: Any, to: Any, *, safe: bool = True) -> Any:
    """``array`` as the type ``to``; pa.ArrowInvalid where that would lose something, unless it is not ``safe``."""
    options = _compute.CastOptions.safe(to) if safe else _compute.CastOptions.unsafe(to)
    return _compute.call_function("cast", [array], options)


def take(array: Any, at: Any) -> Any:
    """The values at the indices ``at``, null where those are."""
    return _compute.call_function("take", [array, at], _compute.TakeOptions(boundscheck=True))


def fill_null(array: Any, value: Any) -> Any:
    """``array`` with ``value``, one or as many, in place of null."""
    if not isinstance(value, (pa.Scalar, pa.Array, pa.ChunkedArray)):
        value = pa.scalar(value, type=array.type)
    elif array.type != value.type:
        value = value.cast(array.type)
    return _compute.call_function("coalesce", [array, value])

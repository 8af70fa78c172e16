"""The compute functions are Arrow's own, and an export imports none of their slow dependencies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as arrows
import pytest

from fluxport import compute as ours
from service_support import emulator

TEXT = pa.array(["-1.50", None, "ab", ""])
NUMBERS = pa.array([3, None, -7, 3], pa.int64())
FLAGS = pa.array([True, None, False, True])

CALLS: dict[str, Callable[[Any], Any]] = {
    "no options": lambda pc: pc.equal(NUMBERS, 3),
    "default options": lambda pc: pc.sum(NUMBERS),
    "options by name": lambda pc: pc.sum(NUMBERS, skip_nulls=False),
    "options by position": lambda pc: pc.replace_substring(TEXT, "-", "+"),
    "a slice": lambda pc: pc.utf8_slice_codeunits(TEXT, 0, -1),
    "a padded text": lambda pc: pc.ascii_lpad(TEXT, 6, "0"),
    "any number of arrays": lambda pc: pc.binary_join_element_wise(TEXT, TEXT, "|"),
    "any number of arrays, options": lambda pc: pc.binary_join_element_wise(
        TEXT, "|", "", null_handling="replace", null_replacement="?"
    ),
    "a name that is a word of Python": lambda pc: pc.and_(FLAGS, pc.or_(FLAGS, pc.invert(FLAGS))),
    "several results": lambda pc: pc.min_max(NUMBERS),
    "choosing": lambda pc: pc.if_else(FLAGS, NUMBERS, 0),
    "filter": lambda pc: pc.filter(NUMBERS, FLAGS),
    "take": lambda pc: pc.take(TEXT, pa.array([2, None, 0])),
    "cast": lambda pc: pc.cast(NUMBERS, pa.string()),
    "unsafe cast": lambda pc: pc.cast(pa.array([300]), pa.uint8(), safe=False),
    "null filled by a value": lambda pc: pc.fill_null(TEXT, "x"),
    "null filled by a scalar of another type": lambda pc: pc.fill_null(NUMBERS, pa.scalar(5, pa.int8())),
    "null filled by an array": lambda pc: pc.fill_null(NUMBERS, pa.array([1, 2, 3, 4])),
    "more than a kernel": lambda pc: pc.index(NUMBERS, -7),
    "text and a text": lambda pc: pc.if_else(FLAGS, "yes", "no"),
    "a chunked array": lambda pc: pc.cast(pa.chunked_array([NUMBERS, NUMBERS]), pa.float64()),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_function_gives_what_arrows_own_gives(call: Callable[[Any], Any]) -> None:
    assert call(ours) == call(arrows)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.arange(5, dtype=np.int32), None),
        (np.arange(10)[::2], None),
        (np.array([True, False, True] * 5), None),
        (np.array([0.5, -0.0]), None),
        (np.array([86_400]), pa.timestamp("s", "UTC")),
        (np.array([], np.uint8), None),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else str(value),
)
def test_numbers_of_numpy_become_arrays(values: Any, kind: pa.DataType | None) -> None:
    made = ours.from_numpy(values, kind)
    made.validate(full=True)
    assert made == pa.array(values, kind)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda pc: pc.cast(pa.array([300]), pa.uint8()), pa.ArrowInvalid),
        (lambda pc: pc.take(NUMBERS, pa.array([9])), IndexError),
        (lambda pc: pc.is_valid(NUMBERS, True), TypeError),
        (lambda pc: pc.no_such_function, AttributeError),
    ],
    ids=["cast", "take", "too many arguments", "unknown"],
)
def test_it_refuses_what_arrows_own_refuses(call: Callable[[Any], Any], error: type[Exception]) -> None:
    for module in (ours, arrows):
        with pytest.raises(error):
            call(module)


def test_an_export_imports_nothing_that_is_slow_to_import_or_to_look_for(tmp_path: Path) -> None:
    program = (
        "import sys; tried = set(); sys.addaudithook(lambda event, told: event == 'import' and tried.add(told[0])); "
    )
    program += "from fluxport.cli import root; root(standalone_mode=False); "
    program += "print({'pyarrow.compute', 'numpy.ma', 'dateutil', 'pandas', 'encodings.idna'} & tried)"
    with emulator(tmp_path, 100) as url:
        for suffix in ("csv", "jsonl", "xlsx", "parquet"):
            arguments = ["SELECT * FROM users", "--from", url, "--to", f"{tmp_path}/out.{suffix}", "--quiet"]
            ran = subprocess.run(
                [sys.executable, "-c", program, "export", *arguments], capture_output=True, text=True, check=True
            )
            assert ran.stdout == "set()\n", suffix
            assert (tmp_path / f"out.{suffix}").stat().st_size

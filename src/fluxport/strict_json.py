"""JSON from callers, restricted to what all parsers read alike: UTF-8, no duplicate key, no NaN, no number beyond the
range of a double, no lone surrogate."""

from __future__ import annotations

import json
import math
from typing import Any

from fluxport.errors import Refused


def read_json(body: bytes, what: str = "The body", *, code: str = "bad_json") -> Any:
    """The value of ``body``; Refused, with a message about ``what``, for invalid JSON, for an object with a duplicate
    key (some parsers take the first value, others the last), for a number that no double holds (some read Infinity),
    and for text that no file can hold: half of a surrogate pair.
    """
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused(
            f"{what} holds a lone surrogate (\\ud800 to \\udfff), which is not a character.", code=code
        ) from None
    except _RepeatedKeyError:
        raise Refused(f"{what} has an object with the same key twice; write each once.", code=code) from None
    except _NotFiniteError:
        raise Refused(f"{what} holds a number that no double holds, such as 1e999.", code=code) from None
    except (ValueError, RecursionError):
        raise Refused(f"{what} is not valid JSON.", code=code) from None
    return value


class _RepeatedKeyError(Exception):
    pass


class _NotFiniteError(Exception):
    pass


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NotFiniteError
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _RepeatedKeyError
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(name)

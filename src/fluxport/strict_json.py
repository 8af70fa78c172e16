"""JSON that callers send, as all readers understand it alike: in UTF-8, no key twice, no NaN, no number that no
double holds, no lone surrogate."""

from __future__ import annotations

import json
import math
from typing import Any

from fluxport.errors import Refused


def read_json(body: bytes, what: str = "The body", *, code: str = "bad_json") -> Any:
    """What ``body`` says; Refused, beginning with ``what``, for what is not JSON, for an object that has a key twice
    (one reader takes the first value, another the last), for a number that no double holds (to some it is Infinity),
    and for text that no file can hold: half of a surrogate pair.
    """
    try:
        text = body.decode("utf-8-sig")
        found = json.loads(text, object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused(
            f"{what} holds a lone surrogate (\\ud800 to \\udfff), which is no character.", code=code
        ) from None
    except _RepeatedKeyError:
        raise Refused(f"{what} has an object with the same key twice; write each once.", code=code) from None
    except _NotFiniteError:
        raise Refused(f"{what} holds a number that no double holds, such as 1e999.", code=code) from None
    except (ValueError, RecursionError):
        raise Refused(f"{what} is not valid JSON.", code=code) from None
    return found


class _RepeatedKeyError(Exception):
    pass


class _NotFiniteError(Exception):
    pass


def _finite(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise _NotFiniteError
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RepeatedKeyError
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)

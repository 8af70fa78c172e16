"""References in settings and URLs to secrets that are kept elsewhere.

::

    ${DB_PASSWORD}            a variable of the environment
    ${file:/run/secrets/db}   the content of a file, without the line break at its end
    $${                       ${ itself

Inside a URL the value is percent-encoded, so that a password may have any characters; a URL that is nothing but one
reference is taken as it is. In the host and the path ``/ : [ ]`` stay, since an address or a path may be a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from fluxport.errors import Refused

FILE_BYTES_MAX = 64 << 10
_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with the value of each reference; Refused (``bad_reference``) without the value of any."""
    if "${" not in text:
        return text
    template = _REFERENCE.sub(lambda found: " " * len(found[0]), text)  # by which the parts of a URL are told
    parts, end = [], 0
    for found in _REFERENCE.finditer(text):
        parts.append(text[end : found.start()])
        if found[1] is None:
            parts.append("${")
        else:
            value = _value(found[1], found[2], environ)
            parts.append(_encoded(value, template, found.start()) if _URL.match(template) else value)
        end = found.end()
    return "".join([*parts, text[end:]])


def _value(reference: str, closing: str, environ: Mapping[str, str]) -> str:
    if reference.startswith("file:") and closing and len(reference) > len("file:"):
        return _content(Path(reference.removeprefix("file:")))
    if not closing or not _NAME.fullmatch(reference):
        raise Refused(
            "A reference is ${NAME}, for a variable of the environment, or ${file:PATH}; write $${ for ${ itself.",
            code="bad_reference",
        )
    if reference not in environ:
        raise Refused(f"The environment variable {reference}, to which it refers, is not set.", code="bad_reference")
    return environ[reference]


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        text = data.decode()
    except (OSError, ValueError) as error:  # ValueError: also a path with a zero byte
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise Refused(
            f"The file {str(path)!r}, to which it refers, cannot be read: {why}.", code="bad_reference"
        ) from None
    if len(data) > FILE_BYTES_MAX:
        raise Refused(
            f"The file {str(path)!r}, to which it refers, is larger than {FILE_BYTES_MAX:,} bytes.",
            code="bad_reference",
        )
    return text.removesuffix("\n").removesuffix("\r")


def _encoded(value: str, template: str, at: int) -> str:
    """``value`` for its place in the URL of which ``template`` has all parts but the values."""
    is_account = "@" in re.split(r"[/?#]", template[at:], maxsplit=1)[0]
    return quote(value, safe="" if is_account or "?" in template[:at] else "/:[]")

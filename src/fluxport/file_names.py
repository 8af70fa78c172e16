"""Download file names."""

from __future__ import annotations

import re
from datetime import datetime

from fluxport.errors import Refused
from fluxport.headers import one_line

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def file_name(template: str | None, suffix: str, *, export_id: str, now: datetime, numbered: bool = False) -> str:
    """The download file name: the caller's template filled in, unsafe characters replaced, with the right suffix.

    ``{part}`` is left for later if files are ``numbered``, else it is an unknown field.
    """
    name = (template or "export-{date}-{time}").strip()
    values = {
        "job_id": export_id,
        "date": f"{now:%Y-%m-%d}",
        "time": f"{now:%H%M%S}",
    } | ({"part": "{part}"} if numbered else {})
    for key in re.findall(r"\{([^{}]*)\}", name):
        if key not in values:
            raise Refused(
                f"Unknown field {{{key}}} in 'filename'; valid are: {', '.join('{' + k + '}' for k in values)}.",
                code="bad_filename",
            )
        name = name.replace("{" + key + "}", values[key])
    # A direction mark can show fdp.exe as exe.pdf, so invisible characters are removed.
    name = one_line(_UNSAFE.sub("_", name)).strip(". ")
    if not name:
        raise Refused("'filename' has no usable character.", code="bad_filename")
    stem = name
    for ending in (suffix, f".{suffix.split('.')[1]}"):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    return stem.encode()[: 200 - len(suffix)].decode(errors="ignore") + suffix

"""Names of files for people."""

from __future__ import annotations

import re
from datetime import datetime

from fluxport.errors import Refused
from fluxport.headers import one_line

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def file_name(template: str | None, suffix: str, *, export_id: str, now: datetime, numbered: bool = False) -> str:
    """The file's name for people: the caller's template filled in, unsafe characters replaced, the right suffix.

    ``{part}`` stays as it is where files are ``numbered``, and is unknown elsewhere.
    """
    made = (template or "export-{date}-{time}").strip()
    values = {
        "job_id": export_id,
        "date": f"{now:%Y-%m-%d}",
        "time": f"{now:%H%M%S}",
    } | ({"part": "{part}"} if numbered else {})
    for key in re.findall(r"\{([^{}]*)\}", made):
        if key not in values:
            raise Refused(
                f"Unknown field {{{key}}} in 'filename'; it knows: {', '.join('{' + k + '}' for k in values)}.",
                code="bad_filename",
            )
        made = made.replace("{" + key + "}", values[key])
    # A mark that sets a direction shows fdp.exe as exe.pdf; nothing that is not seen belongs into a name.
    made = one_line(_UNSAFE.sub("_", made)).strip(". ")
    if not made:
        raise Refused("'filename' has no usable character.", code="bad_filename")
    stem = made
    for ending in (suffix, f".{suffix.split('.')[1]}"):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    return stem.encode()[: 200 - len(suffix)].decode(errors="ignore") + suffix

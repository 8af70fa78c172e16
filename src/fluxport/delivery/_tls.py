"""The one way this room trusts a certificate."""

from __future__ import annotations

import functools
import ssl

from fluxport.errors import Refused


@functools.cache
def client_context(ca_file: str | None) -> ssl.SSLContext:
    """Certificate and name are checked against the system's authorities and, if given, those in ``ca_file`` (PEM).

    They are read once per process: it takes longer (24 ms) than all else of a delivery.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise Refused(f"No certificates can be read from {ca_file!r}: {error.strerror}; check ca_file.") from error
    return context

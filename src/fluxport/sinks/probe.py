"""A check that a store works: a few bytes are stored and removed."""

from __future__ import annotations

import secrets

from fluxport.stages import Sink

# Unique to this process. A process id is not: it is 1 in every container, and would match the file of a killed process.
NAME = f".fluxport-probe-{secrets.token_hex(8)}"


def probe(store: Sink) -> str:
    """The location of the store's files; raises the errors of its ``put`` and ``remove``."""
    receipt = store.put(NAME, (part for part in (b"fluxport",)))
    store.remove(receipt.location)
    return receipt.location.removesuffix(NAME)

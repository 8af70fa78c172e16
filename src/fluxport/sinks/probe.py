"""Whether a store can be used: a few bytes, stored and removed."""

from __future__ import annotations

import secrets

from fluxport.stages import Sink

# Of this process alone. Process ids will not do: in containers all are 1, and what a killed one left would be taken.
NAME = f".fluxport-probe-{secrets.token_hex(8)}"


def probe(store: Sink) -> str:
    """Where files of the store are; raises as its ``put`` and ``remove`` do."""
    receipt = store.put(NAME, (part for part in (b"fluxport",)))
    store.remove(receipt.location)
    return receipt.location.removesuffix(NAME)

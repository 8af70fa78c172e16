"""How many responses a client of ``StreamExport`` accepts.

The stubs of two protos call it: one reads any number of responses, the other one (without ``stream`` before
``ExportResponse``) exactly one, and fails or hangs after a second. Their requests are the same, so that only a
setting, or the time at which a client ends its requests, tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Literal, get_args

from fluxport.auth.proxies import Address, Network
from fluxport.errors import Refused

# stream: at once and then the progress. final: only the last. auto: like final for a client that ends its requests
# before it pauses, which means that it waits for a response, else like stream.
Answers = Literal["auto", "final", "stream"]
HEADER = "x-fluxport-responses"


@dataclass(frozen=True)
class AnswerRules:
    """``of`` maps names or ids of keys, and networks, to what their clients accept; all others get ``usual``."""

    usual: Answers = "auto"
    of: Mapping[str, Answers] = field(default_factory=dict)

    def choose(self, sent: str, key: tuple[str, str], address: Address | None) -> Answers:
        """What a call gets: as its metadata says (``sent``), else its key (name and id), its network, the setting.
        Refused if the metadata says something else."""
        if sent:
            return _read(sent)
        for name in key:
            if name in self.of:
                return self.of[name]
        for name, answers in self.of.items():
            network = _network(name)
            if network is not None and address is not None and address in network:
                return answers
        return self.usual


def _read(sent: str) -> Answers:
    for answers in get_args(Answers):
        if sent == answers:
            chosen: Answers = answers
            return chosen
    raise Refused(f"The metadata {HEADER!r} is one of: {', '.join(get_args(Answers))}.", code="bad_metadata")


def _network(name: str) -> Network | None:
    """The network that a name of ``of`` writes; None if it is that of a key."""
    try:
        return ip_network(name)
    except ValueError:
        return None

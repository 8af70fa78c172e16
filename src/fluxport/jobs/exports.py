"""The parts of a service that handle exports, as its composition root connects them."""

from __future__ import annotations

from dataclasses import dataclass

from fluxport.jobs.catalog import Catalog
from fluxport.jobs.store import JobStore
from fluxport.jobs.streams import Streams
from fluxport.jobs.submit import Submitter
from fluxport.jobs.transfers import Transfers
from fluxport.jobs.watch import Watch


@dataclass(frozen=True)
class Exports:
    """Each API takes the parts that it needs."""

    catalog: Catalog
    store: JobStore
    transfers: Transfers
    submitter: Submitter
    streams: Streams
    watch: Watch

"""A process that claims every export that it can: ``python claiming.py DATABASE``; prints their ids."""

from __future__ import annotations

import sys

import sqlalchemy as sa

from fluxport.jobs.store import JobStore
from fluxport.tables import exports

store = JobStore(sys.argv[1])
with store.engine.connect() as connection:
    ids = list(connection.scalars(sa.select(exports.c.id).order_by(exports.c.created_at)))
print("\n".join(export_id for export_id in ids if store.claim(export_id, attempts_max=1) is not None))

"""Schedules and the audit: ``/v1/schedules`` and ``/v1/audit``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from fluxport.errors import Refused
from fluxport.http.callers import Callers
from fluxport.http.responses import NO_STORE
from fluxport.http.routing import Router
from fluxport.jobs.schedule import Schedule, key_prefix
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.view import audit_json, rfc3339

AUDIT_MAX = 1000


def router(store: JobStore, callers: Callers, schedules: Mapping[str, Schedule]) -> Router:
    routes = Router(prefix="/v1", tags=["history"])

    @routes.get(
        "/schedules",
        operation_id="list_schedules",
        summary="Your schedules with their next and last runs; an admin sees all",
    )
    async def list_schedules(request: Request) -> Response:
        caller, _ = await callers.verified(request)

        def listed() -> list[dict[str, Any]]:
            now = datetime.now(UTC)
            return [
                schedule_json(schedule, store.last_with_key(schedule.owner, key_prefix(name)), now)
                for name, schedule in schedules.items()
                if caller.admin or caller.sees(schedule.owner, schedule.request.spec.scope, None)
            ]

        return JSONResponse({"data": await run_in_threadpool(listed)}, headers=NO_STORE)

    @routes.get(
        "/audit",
        operation_id="list_audit",
        summary="Who exported, downloaded and changed what, newest first; for admins",
    )
    async def audit(
        request: Request,
        user: str | None = None,
        action: str | None = None,
        export_id: str | None = None,
        before: Annotated[int | None, Query(ge=0, lt=1 << 63)] = None,
        limit: int = 100,
    ) -> Response:
        caller, _ = await callers.verified(request)
        caller.need("admin")
        if not 1 <= limit <= AUDIT_MAX:
            raise Refused(f"'limit' is 1 to {AUDIT_MAX}.", code="bad_limit")
        lines = await run_in_threadpool(
            lambda: store.audit_page(owner=user, action=action, export_id=export_id, before=before, limit=limit)
        )
        return JSONResponse({"data": [audit_json(line) for line in lines]}, headers=NO_STORE)

    return routes


def schedule_json(schedule: Schedule, last: Record | None, now: datetime) -> dict[str, Any]:
    """A schedule as its owner sees it; ``last`` is the export of its last run."""
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "user": schedule.owner,
        "next_at": rfc3339(next(schedule.runs(now)).timestamp()),
        "last": None
        if last is None
        else {
            "export_id": last.id,
            "status": last.status,
            "created_at": rfc3339(last.created_at),
            "error": last.error and last.error.to_json(),
        },
    }

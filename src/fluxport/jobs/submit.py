"""Submission: a request for a stored export, checked and put into the queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fluxport.auth.caller import Caller
from fluxport.delivery.webhook import WebhookOptions
from fluxport.jobs.catalog import Catalog
from fluxport.jobs.notify import check_notify
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import JobStore, Record


@dataclass(frozen=True)
class SubmitOptions:
    """``active_max`` limits the active exports of one caller at one API, by the API's name, ``queue_max`` the queued
    ones of all. Mails go only to ``mail_domains`` (None: any), unless the caller's key has its own."""

    active_max: Mapping[str, int]
    queue_max: int
    webhooks: WebhookOptions
    mail_domains: tuple[str, ...] | None


class Submitter:
    """Queues exports. ``check_open`` raises if no new ones are accepted."""

    def __init__(
        self,
        catalog: Catalog,
        store: JobStore,
        options: SubmitOptions,
        check_open: Callable[[], None] = lambda: None,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._options = options
        self._check_open = check_open

    def submit(
        self,
        request: ExportRequest,
        caller: Caller,
        *,
        api: str,
        idempotency: tuple[str, str] | None = None,
        unless_active: str | None = None,
    ) -> tuple[Record, bool]:
        """A queued export and whether it is new; an invalid request is refused before anything is written."""
        self._check_open()
        self._catalog.allowed(request.spec, caller, may_split=request.may_split)
        return self._store.create(
            self.checked(request, caller),
            caller,
            api=api,
            active_max=self._options.active_max[api],
            queue_max=self._options.queue_max,
            idempotency=idempotency,
            unless_active=unless_active,
        )

    def checked(self, request: ExportRequest, caller: Caller) -> ExportRequest:
        """The request in the form that is stored: with the connection of a dataset and checked targets."""
        domains = self._options.mail_domains if caller.mail_domains is None else caller.mail_domains
        notify = check_notify(request.notify, self._options.webhooks, domains)
        return replace(request, spec=self._catalog.located(request.spec), notify=notify)

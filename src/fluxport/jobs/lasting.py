"""What a worker has to find out or to write, however long the service's own database is away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn, TypeVar

from fluxport.errors import FluxportError
from fluxport.tables import patiently

T = TypeVar("T")


def lasting(do: Callable[[], T], draining: threading.Event) -> T:
    """What ``do`` gives as soon as the database can be used. Once ``draining`` is set nothing is tried again: this
    blocks, see :func:`park`. A database that stays unusable is tried again, too: the lease ends such a worker."""
    try:
        return patiently(do, draining, staying=True)
    except FluxportError:
        if draining.is_set():
            park()
        raise


def park() -> NoReturn:
    """Block until the process ends: the workflow stays pending, and so another worker recovers it."""
    while True:
        threading.Event().wait()

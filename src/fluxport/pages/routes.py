"""The routes of the pages. All data on them comes from the API, which alone authorizes access."""

from __future__ import annotations

import re
from collections.abc import Callable

from fastapi.responses import FileResponse, HTMLResponse, Response

from fluxport.errors import NotFound
from fluxport.http.routing import Router
from fluxport.pages.assets import STATIC
from fluxport.pages.shell import HEADERS, html

# Path, entry in web/src, title.
PAGES = (
    ("/", "home", "Fluxport"),
    ("/exports", "exports", "Exports · Fluxport"),
    ("/dashboard", "dashboard", "Sensors · Fluxport"),
    ("/sign-in", "sign-in", "Sign in · Fluxport"),
)
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"


def router() -> Router:
    routes = Router(include_in_schema=False)
    for path, page, title in PAGES:
        routes.add_api_route(path, _page(page, title))

    @routes.get("/static/{name}")
    def static(name: str) -> Response:
        file = STATIC / name
        # Only files directly in this folder; those that start with a dot are private.
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) or not file.is_file():
            raise NotFound("There is nothing at this address.")
        media_type = MEDIA_TYPES.get(file.suffix, "application/octet-stream")
        headers = {"Cache-Control": FOREVER, "X-Content-Type-Options": "nosniff"}
        return FileResponse(file, headers=headers, media_type=media_type)

    return routes


def _page(page: str, title: str) -> Callable[[], Response]:
    def show() -> Response:
        return HTMLResponse(html(page, title), headers=HEADERS)

    return show

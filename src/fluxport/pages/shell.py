"""The HTML document around a page's script, without inline code or external resources."""

from __future__ import annotations

from html import escape

from fluxport.http.secured import page_headers
from fluxport.pages.assets import assets

HEADERS = page_headers() | {"Cache-Control": "no-store"}


def html(page: str, title: str) -> str:
    """The document of ``page``; its script renders into ``#page``."""
    needed = assets(page)
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
        '<link rel="icon" href="data:,">',
        *(f'<link rel="stylesheet" href="/static/{name}">' for name in needed.styles),
        *(f'<script type="module" src="/static/{name}"></script>' for name in needed.scripts),
    ]
    body = '<div id="page"></div>'
    body += "<noscript><p>This page requires JavaScript; the API does not, see /docs.</p></noscript>"
    return f'<!doctype html><html lang="en"><head>{"".join(head)}</head><body>{body}</body></html>'

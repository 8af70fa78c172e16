"""The page behind a one-time link, with a button that downloads the file: opening the page does not redeem the link."""

from __future__ import annotations

from html import escape

from fastapi.responses import HTMLResponse

from fluxport.http.responses import NO_STORE
from fluxport.http.secured import html_headers
from fluxport.jobs.outcome import Result

# The colors are those of web/src/style.css.
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  --ink: #16202c; --soft: #586675; --line: #d9dfe6; --paper: #f5f7f9; --card: #fff; --main: #0b6e63; --main-ink: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --soft: #9aa8b6; --line: #2c3743; --paper: #10161d;
  --card: #18212b; --main: #4cc2b2; --main-ink: #06211d; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 12vh 1rem 2rem; background: var(--paper); color: var(--ink); }
main { max-width: 26rem; margin: 0 auto; padding: 1.5rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
.brand { margin: 0 0 1rem; font-size: .9rem; font-weight: 650; color: var(--main); }
h1 { margin: 0 0 .5rem; font-size: 1.25rem; line-height: 1.3; overflow-wrap: anywhere; }
p { margin: 0 0 1.25rem; color: var(--soft); }
button { width: 100%; font: inherit; font-weight: 600; padding: .6rem 1.2rem; border: 0; border-radius: 8px;
  cursor: pointer; background: var(--main); color: var(--main-ink); }
button:focus-visible { outline: 2px solid var(--main); outline-offset: 2px; }
"""


def page(result: Result) -> HTMLResponse:
    """The page for the stored file ``result``; its form submits to the page's own address, including the token."""
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Download</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>'
        f'<main><p class="brand">Fluxport</p><h1>{escape(result.filename)}</h1>'
        f"<p>{result.rows:,} rows, {result.bytes:,} bytes. This link works once: after the "
        "download has begun, only this browser can repeat it, for a while.</p>"
        '<form method="post"><button>Download</button></form></main></html>'
    )
    # A browser under no-referrer sends no Origin, so there is no same-origin check: the token alone authorizes.
    headers = html_headers(STYLE, form_action="'self'") | NO_STORE | {"Vary": "Accept"}
    return HTMLResponse(text, headers=headers)

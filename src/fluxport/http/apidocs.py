"""The API's description as one page of plain HTML: no script, nothing loaded from anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; }
article { border-top: 1px solid #8888; padding: .75rem 0; }
h3 { font: 600 1rem ui-monospace, monospace; margin: 0; overflow-wrap: anywhere; }
h3 b { display: inline-block; min-width: 4.5rem; }
p, ul { margin: .25rem 0; }
pre { overflow-x: auto; padding: .75rem; background: #8882; border-radius: .25rem; font-size: .875rem; }
"""


def page(openapi: Mapping[str, Any]) -> tuple[str, str]:
    """The page, and the text between its ``<style>`` tags."""
    info = openapi["info"]
    title = escape(f"{info['title']} {info['version']}")
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}: API</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>',
        f"<h1>{title}</h1><p>{escape(info.get('summary', ''))}</p>",
        '<p>The same for machines: <a href="openapi.json">openapi.json</a></p><main>',
    ]
    for tag, operations in _by_tag(openapi["paths"]).items():
        parts.append(f"<h2>{escape(tag)}</h2>")
        parts += [_operation(*operation) for operation in operations]
    return "".join([*parts, "</main></html>"]), STYLE


def _by_tag(paths: Mapping[str, Any]) -> dict[str, list[tuple[str, str, Mapping[str, Any]]]]:
    found: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, methods in paths.items():
        for method, operation in methods.items():
            found.setdefault((operation.get("tags") or ["other"])[0], []).append((method, path, operation))
    return found


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"<article><h3><b>{escape(method.upper())}</b> {escape(path)}</h3>"]
    parts += [f"<p>{escape(operation[key])}</p>" for key in ("summary", "description") if operation.get(key)]
    parameters = "".join(map(_parameter, operation.get("parameters", [])))
    if parameters:
        parts.append(f"<ul>{parameters}</ul>")
    parts += [f"<p>Body, {escape(kind)}:</p>{_schema(body)}" for kind, body in _bodies(operation)]
    return "".join([*parts, "</article>"])


def _parameter(parameter: Mapping[str, Any]) -> str:
    kind = parameter.get("schema", {}).get("type", "")
    words = [parameter["in"], kind, "required" if parameter.get("required") else ""]
    about = ", ".join(word for word in words if word)
    return f"<li><code>{escape(parameter['name'])}</code> ({escape(about)})</li>"


def _bodies(operation: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield kind, content.get("schema", {})


def _schema(schema: Any) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre>"

"""The OpenAPI document as one page of plain HTML, without scripts or external resources."""

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
    """The HTML of the page, and the text between its ``<style>`` tags."""
    info = openapi["info"]
    title = escape(f"{info['title']} {info['version']}")
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}: API</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>',
        f"<h1>{title}</h1><p>{escape(info.get('summary', ''))}</p>",
        '<p>Machine-readable: <a href="openapi.json">openapi.json</a></p><main>',
    ]
    for tag, operations in _by_tag(openapi["paths"]).items():
        parts.append(f"<h2>{escape(tag)}</h2>")
        parts += [_operation(*operation) for operation in operations]
    parts.append("<h2>Bodies</h2>")
    for name, schema in openapi["components"]["schemas"].items():
        parts.append(f'<article id="{escape(name)}"><h3>{escape(name)}</h3>{_schema(schema)}</article>')
    return "".join([*parts, "</main></html>"]), STYLE


def _by_tag(paths: Mapping[str, Any]) -> dict[str, list[tuple[str, str, Mapping[str, Any]]]]:
    tagged: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, methods in paths.items():
        for method, operation in methods.items():
            tagged.setdefault((operation.get("tags") or ["other"])[0], []).append((method, path, operation))
    return tagged


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"<article><h3><b>{escape(method.upper())}</b> {escape(path)}</h3>"]
    parts += [f"<p>{escape(operation[key])}</p>" for key in ("summary", "description") if operation.get(key)]
    parameters = "".join(map(_parameter, operation.get("parameters", [])))
    if parameters:
        parts.append(f"<ul>{parameters}</ul>")
    if body := operation.get("requestBody", {}).get("content"):
        parts.append(f"<p>Body: {_content(body)}</p>")
    parts.append(f"<ul>{''.join(_response(*response) for response in operation['responses'].items())}</ul>")
    return "".join([*parts, "</article>"])


def _parameter(parameter: Mapping[str, Any]) -> str:
    kind = parameter.get("schema", {}).get("type", "")
    facts = [parameter["in"], kind, "required" if parameter.get("required") else ""]
    about = ", ".join(fact for fact in facts if fact)
    return f"<li><code>{escape(parameter['name'])}</code> ({escape(about)}): {escape(parameter['description'])}</li>"


def _response(status: str, response: Mapping[str, Any]) -> str:
    content = _content(response.get("content", {}))
    return f"<li>{escape(status)}: {escape(response['description'])} {content}</li>"


def _content(content: Mapping[str, Any]) -> str:
    """The media types, each with links to its schemas."""
    return ", ".join(" ".join([escape(kind), *_links(entry["schema"])]) for kind, entry in content.items())


def _links(schema: Mapping[str, Any]) -> Iterator[str]:
    for choice in (schema, schema.get("contentSchema", {}), *schema.get("anyOf", ())):
        if name := choice.get("$ref", "").rpartition("/")[2]:
            yield f'<a href="#{escape(name)}">{escape(name)}</a>'


def _schema(schema: Any) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre>"

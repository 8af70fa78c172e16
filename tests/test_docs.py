"""The documentation says what the code does: its tables are fresh, nothing is left out, its links and commands work."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from fluxport import errors, sinks
from fluxport.config_sources import sink_environment
from fluxport.delivery.webhook import signed_headers
from fluxport.findings import SENTENCES
from fluxport.formats import FORMATS, options_class
from fluxport.formats.compress import COMPRESSIONS
from fluxport.formats.options import PROFILES
from scripts import script
from service_support import SECRET, emulator, service

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "examples" / "README.md"])


GENERATE = script("docs/generate.py")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def reference(name: str) -> str:
    return (DOCS / "reference" / name).read_text()


def missing(words: set[str], text: str) -> list[str]:
    """The words that ``text`` does not contain as code."""
    return sorted(word for word in words if f"`{word}`" not in text)


@pytest.mark.parametrize("page", [p for p in PAGES if "<!-- generated:" in p.read_text()], ids=name_of)
def test_a_generated_section_is_what_the_code_says(page: Path) -> None:
    assert GENERATE.rewritten(page.read_text()) == page.read_text(), "run python docs/generate.py"


def test_every_generated_section_is_on_a_page() -> None:
    marks = {name for page in PAGES for name in re.findall(r"<!-- generated: (.+?) -->", page.read_text())}
    assert marks == set(GENERATE.SECTIONS)


def test_every_command_and_option_is_in_the_reference() -> None:
    words = set()
    for name, command in GENERATE.commands():
        words.add(name)
        options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
        words |= {word for option in options for word in (*option.opts, *option.secondary_opts)}
        assert all(option.help for option in options), f"{name}: every option says what it does"
    assert not missing(words, reference("cli.md"))


def test_every_route_is_in_the_reference() -> None:
    routes = {f"{method.upper()} {path}" for path, methods in GENERATE.openapi()["paths"].items() for method in methods}
    assert not missing(routes, reference("http.md"))


def test_every_format_option_and_profile_is_in_the_reference() -> None:
    words = {*FORMATS.built_in, *COMPRESSIONS.built_in, *PROFILES}
    words |= {field.name for name in FORMATS for field in dataclasses.fields(options_class(name))}
    assert not missing(words, reference("formats.md"))


@pytest.mark.parametrize(
    ("page", "mark"),
    [
        ("README.md", "writes them to a file"),
        ("docs/architecture.md", "| `Encoder` |"),
        ("src/fluxport/cli/__init__.py", "Query results as complete"),
        ("web/src/home.tsx", "Fluxport streams rows"),
        ("pyproject.toml", "description = "),
    ],
)
def test_a_sentence_that_lists_the_formats_lists_all(page: str, mark: str) -> None:
    (line,) = [line for line in (ROOT / page).read_text().splitlines() if mark in line]
    names = {entry.module.rpartition(".")[2].upper() for entry in FORMATS.built_in.values()}
    assert sorted(name for name in names if name not in line.upper()) == []


@pytest.mark.parametrize(("page", "mark"), [("README.md", "| [stores](docs"), ("docs/architecture.md", "| `Sink` |")])
def test_a_sentence_that_lists_the_stores_lists_all(page: str, mark: str) -> None:
    (line,) = [line for line in (ROOT / page).read_text().splitlines() if mark in line]
    names = {{"local": "folder", "gcs": "google"}.get(name, name) for name in sinks.SINKS.built_in if name != "memory"}
    assert sorted(name for name in names if name not in line.lower()) == []


def test_the_formats_of_the_readme_name_every_compression() -> None:
    rows = re.findall(r"^\|.*gzip.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert rows
    for row in rows:
        assert [name for name in COMPRESSIONS if name != "none" and name not in row] == []


def test_every_setting_and_old_name_is_in_the_reference_with_its_meaning() -> None:
    settings = list(GENERATE.settings())
    names = {name for name, _ in GENERATE.old_names()}
    names |= {name for kind in sinks.SINKS.built_in for name in sink_environment(kind)}
    assert not missing({s.name for s in settings} | names, reference("configuration.md"))
    assert [s.name for s in settings if not s.about] == []


def test_every_error_code_of_the_source_is_in_the_reference() -> None:
    """Extracted by text here, by syntax in the generator: what one overlooks, the other sees."""
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    patterns = (
        r'code="([a-z_]+)"',
        r'refuse\(\s*"([a-z_]+)"',
        r'_phrases\(\s*"([a-z_]+)"',
        r'default_code = "([a-z_]+)"',
    )
    codes = {code for pattern in patterns for code in re.findall(pattern, source)}
    codes |= {item.code for item in GENERATE.raised()}
    assert len(codes) > 100
    assert not missing(codes, reference("errors.md"))


def test_every_error_message_is_a_sentence() -> None:
    for item in GENERATE.raised():
        if item.sentence != "…":
            assert re.match(r"[A-Z'`…$]", item.sentence), f"{item.place}: {item.sentence}"
            assert item.sentence[-1] in ".?…", f"{item.place}: {item.sentence}"


def test_every_family_of_errors_and_every_warning_is_in_the_reference() -> None:
    families = {
        name for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, Exception)
    }
    assert not missing(families, reference("errors.md"))
    assert not missing(set(SENTENCES), reference("warnings.md"))


# -- architecture ------------------------------------------------------------------------------------------------------


def test_every_module_of_the_product_has_its_layer() -> None:
    listed = set(re.findall(r"\w+", GENERATE.layers().partition("\n")[2]))
    there = {
        path.stem for path in GENERATE.SOURCES[0].iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - {"__init__", "__main__"} == listed


def test_the_picture_of_the_packages_shows_them_in_the_order_of_their_layers() -> None:
    layers = [line.split(" | ") for line in GENERATE.layers().splitlines()[1:-1]]
    depth = {name: number for number, line in enumerate(layers) for name in line}
    shown = re.findall(r'y="([\d.]+)"[^>]* font-weight="600"[^>]*>(\w+)<', (DOCS / "packages.svg").read_text())
    rows: dict[str, list[int]] = {}
    for height, name in shown:
        if name != "fluxport_emulator":  # it stands beside them
            rows.setdefault(height, []).append(depth[name])
    assert all(max(above) < min(below) for above, below in itertools.pairwise(rows.values()))


def test_the_picture_shows_the_packages_that_the_page_describes() -> None:
    described = set(re.findall(r"\*\*`(\w+)`\*\*", (DOCS / "architecture.md").read_text()))
    shown = set(re.findall(r' font-weight="600"[^>]*>(\w+)<', (DOCS / "packages.svg").read_text()))
    assert {"api", "client", "targets"} <= described
    assert described - {"addresses"} <= shown  # it is small


def test_a_curve_has_a_gap_where_a_width_was_not_measured() -> None:
    """A line joins two points only if no width lies between them at which others were measured."""
    lines = [f"  {columns:7} {9:9}  {name:33} 1.0 1.0 {columns:7} 90" for columns, name in MEASURED]
    curve = script("docs/curve.py")
    drawn = curve.picture(curve.curves("a host\n\nMixed, 9 cells\n" + "\n".join(lines)), "")
    paths = re.findall(r'<path d="([^"]+)" fill="none"', drawn)
    assert sorted(re.sub(r"[^ML]", "", path) for path in paths) == ["MLLL", "MLM"]
    assert drawn.count("<circle") == len(MEASURED)


MEASURED = [(n, "fluxport csv") for n in (10, 60, 240, 900)] + [(n, "fluxport xlsx") for n in (10, 60, 900)]


# -- links and commands ------------------------------------------------------------------------------------------------

FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", LINK.sub("", h).replace("`", "").lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


def test_the_webhook_receiver_of_the_documentation_accepts_only_our_signatures() -> None:
    page = (DOCS / "how-to" / "notify.md").read_text()
    names: dict[str, Any] = {}
    exec("".join(re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)), names)
    secret, other = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    headers = signed_headers((other, secret), "evt_1", b"{}", time.time())
    assert names["genuine"](secret, headers, b"{}")
    assert not names["genuine"](secret, headers, b"[]")
    assert not names["genuine"]("whsec_" + base64.b64encode(bytes(32)).decode(), headers, b"{}")
    assert not names["genuine"](secret, signed_headers((secret,), "evt_1", b"{}", time.time() - 600), b"{}")


def test_the_guide_to_the_protections_names_each_of_them() -> None:
    def against(page: Path) -> list[str]:
        table = page.read_text().partition("| against |")[2].partition("\n\n")[0]
        return [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()[2:]]

    protections = against(ROOT / "SECURITY.md")
    assert len(protections) > 20
    assert against(DOCS / "how-to" / "verify-security.md") == protections


def test_every_page_can_be_reached_from_the_list_of_pages() -> None:
    listed = {(DOCS / target).resolve() for target in LINK.findall((DOCS / "README.md").read_text())}
    assert [name_of(p) for p in DOCS.rglob("*.md") if p.name != "README.md" and p not in listed] == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    habits = [ROOT / ".ci" / "run", ROOT / ".pre-commit-config.yaml", ROOT / ".devcontainer" / "devcontainer.json"]
    habits += (ROOT / ".github").rglob("*.*")
    named = {
        word
        for page in (*PAGES, *habits)
        for word in re.findall(r"(?:`|^|entry: |&& )make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "test", "lint", "hooks", "docs"} <= named <= targets


def runnable() -> Iterator[Any]:
    for page in PAGES:
        blocks = re.findall(r"^<!-- run -->\n```(sh|python)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
        for number, (language, block) in enumerate(blocks, 1):
            yield pytest.param(language, block, id=f"{name_of(page)}-{number}")


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where the addresses of the documentation are in this run."""
    folder = tmp_path_factory.mktemp("docs")
    with emulator(folder, 20_000) as url, service(folder, url) as client:
        grpc = re.search(r"gRPC at (\S+)", next(folder.glob("serve-*.log")).read_text())
        assert grpc
        database, http = url.split("@")[1].split("/")[0], client.base.split("//")[1]
        yield {
            "127.0.0.1:3306": database,
            "127.0.0.1:8080": http,
            '("127.0.0.1", 8080)': f'("127.0.0.1", {client.port})',
            "127.0.0.1:9090": grpc[1],
        }


COMMANDS = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}


@pytest.mark.parametrize(("language", "block"), list(runnable()))
def test_a_command_of_the_documentation_works(
    language: str, block: str, addresses: dict[str, str], tmp_path: Path
) -> None:
    for written, real in addresses.items():
        block = block.replace(written, real)
    path = os.pathsep.join([sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*COMMANDS[language], block],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "API_SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    left = list(tmp_path.iterdir())
    assert done.stdout or left, "a command shows something or leaves a file"
    assert all(file.stat().st_size for file in left)

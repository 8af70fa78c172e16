"""The pages in Chromium, over the real service with its worker: by mouse, by keyboard alone, on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect, sync_playwright

from fault_proxy import FaultProxy
from fluxport.cli import root
from fluxport.formats import FORMATS
from journal_service import journal_service
from service_support import Client, emulator, service
from services import require_program

PASSWORD = "correct horse battery"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ENDLESS = "SELECT a.id, b.id AS other FROM trades a CROSS JOIN trades b CROSS JOIN trades c"
PATIENCE_MS = 30_000
SEARCHED = {
    "connection": "journal",
    "query": "SELECT id, instrument_id, exit_at FROM trades WHERE user_id = :user AND {filters}",
    "order": "id",
    "columns": {"id": "text", "instrument_id": "text", "exit_at": "timestamp(3)"},
    "filters": {
        "instrument": {"type": "text", "column": "instrument_id"},
        "status": {"type": "one_of", "values": ["OPEN", "CLOSED"], "column": "status"},
        "ids": {"type": "any_of", "where": "id IN (:ids)"},
        "exit": {"type": "date_range", "column": "exit_at"},
    },
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("pages")
    with journal_service(folder, datasets={"searched": SEARCHED}) as running:
        words = ["users", "add", "ann", "--scope", "sql:*", "--scope", "dataset:*", "--password-stdin"]
        environ = {"FLUXPORT_DATABASE": f"sqlite:///{folder}/fluxport.db"}
        assert CliRunner().invoke(root, words, input=PASSWORD, env=environ, catch_exceptions=False).exit_code == 0
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=require_program("chromium"), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def session(client: Client) -> dict[str, str]:
    answer = httpx.post(
        f"{client.base}/session", json={"user": "ann", "password": PASSWORD}, headers={"X-Requested-With": "fluxport"}
    )
    return dict(answer.cookies)


def watched(context: BrowserContext, reported: list[str]) -> Page:
    page = context.new_page()
    page.on("console", lambda message: reported.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: reported.append(str(error)))
    return page


@pytest.fixture
def stranger(client: Client, browser: Browser) -> Iterator[Page]:
    """A page without a session; any message on its console fails the test."""
    reported: list[str] = []
    with browser.new_context(base_url=client.base) as context:
        yield watched(context, reported)
    assert reported == []


@pytest.fixture
def page(client: Client, browser: Browser, session: dict[str, str]) -> Iterator[Page]:
    """The exports of ann, signed in."""
    reported: list[str] = []
    with browser.new_context(base_url=client.base) as context:
        context.add_cookies([{"name": name, "value": value, "url": client.base} for name, value in session.items()])
        page = watched(context, reported)
        page.goto("/exports")
        expect(page.get_by_role("button", name="Create Export")).to_be_visible()
        expect(page.get_by_role("heading", name="Your exports")).to_be_visible()
        yield page
    assert reported == []


def newest(page: Page, status: str) -> Locator:
    """The first export of the list, once its status is this."""
    first = page.locator(".job").first
    expect(first).to_have_attribute("data-status", status, timeout=PATIENCE_MS)
    return first


def created(page: Page) -> None:
    with page.expect_response(lambda r: r.url.endswith("/v1/exports") and r.request.method == "POST") as answer:
        page.get_by_role("button", name="Create Export").click()
    assert answer.value.status == 202, answer.value.text()
    export_id = answer.value.json()["id"]
    expect(page.locator(".job").first).to_have_attribute("data-id", export_id)


def test_a_stranger_signs_in_exports_trades_and_saves_the_file_that_the_api_gives(
    client: Client, stranger: Page, tmp_path: Path
) -> None:
    stranger.goto("/exports")
    expect(stranger).to_have_url(f"{client.base}/sign-in?next=%2Fexports")
    stranger.get_by_label("User").fill("ann")
    stranger.get_by_label("Password").fill(PASSWORD)
    stranger.get_by_role("button", name="Sign in", exact=True).click()
    expect(stranger).to_have_url(f"{client.base}/exports")
    stranger.get_by_label("Date from").fill("2025-03-01")
    stranger.get_by_label("Date to").fill("2025-09-30")
    stranger.get_by_role("combobox", name="Direction").select_option("LONG")
    stranger.get_by_role("combobox", name="Profile").select_option("excel-eu")
    stranger.get_by_role("button", name="None").click()
    for name in ("id", "realizedPnl", "entryAt"):
        stranger.get_by_role("checkbox", name=re.compile(f"^{name} ")).check()
    for _ in range(2):  # beside id, before entryAt
        stranger.get_by_role("button", name="Move realizedPnl up").click()
    created(stranger)
    job = newest(stranger, "completed")
    expect(job).to_contain_text("rows")
    expect(job).to_contain_text("Link valid for 59:")
    with stranger.expect_download() as download:
        job.get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "saved.csv")
    params = {"dateFrom": "2025-03-01", "dateTo": "2025-09-30", "direction": "LONG"}
    options = {"profile": "excel-eu", "columns": ["id", "realizedPnl", "entryAt"]}
    body = {"source": {"dataset": "trades", "params": params}, "format": "csv", "options": options}
    expected = client.post("/v1/stream", body)
    assert (tmp_path / "saved.csv").read_bytes() == expected.content
    assert expected.content.splitlines()[0].endswith(b"id;realizedPnl;entryAt")
    assert expected.content.count(b"\n") > 100
    stranger.get_by_role("button", name="Sign out").click()
    expect(stranger).to_have_url(f"{client.base}/sign-in")
    stranger.goto("/exports")
    expect(stranger).to_have_url(f"{client.base}/sign-in?next=%2Fexports")


@pytest.fixture
def unwatched(client: Client, browser: Browser, session: dict[str, str]) -> Iterator[Page]:
    """The exports of ann, in a test with refusals: a browser writes every 4xx response to its console."""
    with browser.new_context(base_url=client.base) as context:
        context.add_cookies([{"name": name, "value": value, "url": client.base} for name, value in session.items()])
        page = context.new_page()
        page.goto("/exports")
        expect(page.get_by_role("button", name="Create Export")).to_be_visible()
        yield page


def test_a_wrong_password_is_reported_and_can_be_corrected(client: Client, browser: Browser) -> None:
    with browser.new_context(base_url=client.base) as context:
        page = context.new_page()
        page.goto("/sign-in?next=%2Fdashboard%23sensor%3DA")
        page.get_by_label("User").fill("ann")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.get_by_label("User")).to_have_value("ann")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_label("Password").press("Enter")
        expect(page).to_have_url(re.compile(f"^{client.base}/dashboard#sensor=A"))
        expect(page.get_by_text("ann", exact=True)).to_be_visible()


def test_in_development_one_signs_in_as_dev_where_that_works(client: Client, stranger: Page) -> None:
    stranger.goto("/sign-in")
    stranger.get_by_role("button", name="sign in as dev").click()
    expect(stranger).to_have_url(f"{client.base}/exports")
    expect(stranger.get_by_text("dev", exact=True)).to_be_visible()
    stranger.get_by_role("button", name="Sign out").click()
    expect(stranger).to_have_url(f"{client.base}/sign-in")
    stranger.context.set_extra_http_headers({"X-Forwarded-For": "203.0.113.9"})
    with stranger.expect_response("**/session/state"):
        stranger.goto("/sign-in")
    expect(stranger.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    expect(stranger.get_by_role("button", name="sign in as dev")).to_have_count(0)


def test_signing_in_again_over_the_page_continues_where_the_session_ended(unwatched: Page) -> None:
    unwatched.get_by_label("Row limit").fill("3")
    unwatched.context.clear_cookies()
    unwatched.get_by_role("button", name="Preview").click()
    dialog = unwatched.get_by_role("dialog", name="Sign in again")
    expect(dialog.get_by_label("User")).to_be_focused()
    dialog.get_by_role("button", name="Not now").click()
    expect(dialog).to_have_count(0)
    expect(unwatched.locator("form .failure")).to_contain_text("sign in again")
    unwatched.get_by_role("button", name="Create Export").click()
    dialog.get_by_label("User").fill("ann")
    dialog.get_by_label("Password").fill("wrong")
    dialog.get_by_role("button", name="Sign in", exact=True).click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(newest(unwatched, "completed")).to_contain_text("3 rows")
    expect(unwatched.get_by_label("Row limit")).to_have_value("3")


def test_a_preview_shows_the_first_rows_of_the_chosen_columns(client: Client, page: Page) -> None:
    page.get_by_role("checkbox", name="tags").uncheck()
    page.get_by_label("Row limit").fill("3")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("All 3 rows")).to_be_visible()
    expect(page.get_by_role("columnheader")).to_have_count(10)
    params = {"limit": 3}
    first = client.post("/v1/preview", {"source": {"dataset": "trades", "params": params}}).json()["rows"][0]
    expect(page.locator("tbody tr").first).to_contain_text(str(next(iter(first.values()))))


def test_a_preview_shows_every_digit_and_each_value_below_its_name(page: Page) -> None:
    sql(
        page,
        'SELECT 9007199254740993 AS big, 1 AS "2", \'12\' AS "1", \'a "7" \\\' AS big, NULL AS n FROM trades LIMIT 1',
    )
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("All 1 rows")).to_be_visible()
    assert page.get_by_role("columnheader").all_inner_texts() == ["big", "2", "1", "big", "n"]
    assert page.get_by_role("cell").all_inner_texts() == ["9007199254740993", "1", "12", 'a "7" \\', "empty"]


def test_a_refusal_of_the_api_is_shown_at_the_form_with_what_to_do(unwatched: Page) -> None:
    unwatched.get_by_label("Date from").fill("2025-09-30")
    unwatched.get_by_label("Date to").fill("2025-03-01")
    unwatched.get_by_role("button", name="Create Export").click()
    expect(unwatched.get_by_role("alert")).to_contain_text("dateTo")
    expect(unwatched.get_by_role("alert")).to_contain_text("bad_filter")


def sql(page: Page, query: str) -> None:
    page.get_by_role("radio", name="SQL").check()
    page.get_by_role("textbox", name="Query").fill(query)
    expect(page.get_by_role("combobox", name="Connection")).to_have_value("journal")


def test_every_field_of_the_form_is_sent_as_it_was_filled(client: Client, page: Page, tmp_path: Path) -> None:
    page.get_by_label("Date from").fill("2025-03-01")
    page.get_by_label("Start time, in UTC").fill("09:30")
    page.get_by_label("Date to").fill("2025-09-30")
    page.get_by_label("Tag ids").fill("first, with a comma\nsecond\n\n")
    form = page.get_by_role("combobox", name="Format")
    assert form.get_by_role("option").all_text_contents() == [entry.label for entry in FORMATS.values()]
    form.select_option("xlsx")
    page.get_by_label("File name").fill("my trades {date}")
    page.get_by_text("More options").click()
    page.get_by_label("Time zone of timestamps").fill("Asia/Shanghai")
    page.get_by_label("Priority").select_option("low")
    page.get_by_label("Sheet name").fill("March to September")
    page.get_by_label("Filter buttons").check()
    with page.expect_request(lambda r: r.url.endswith("/v1/exports") and r.method == "POST") as sent:
        created(page)
    body: Any = sent.value.post_data_json
    assert body["source"]["params"] == {
        "dateFrom": "2025-03-01T09:30:00+00:00",
        "dateTo": "2025-09-30",
        "tagIds": ["first, with a comma", "second"],
    }
    assert body["options"] == {"sheet_name": "March to September", "autofilter": True, "timezone": "Asia/Shanghai"}
    assert (body["filename"], body["priority"]) == ("my trades {date}", "low")
    job = newest(page, "completed")
    expect(job.get_by_role("heading")).to_have_text(re.compile(r"^my trades \d{4}-\d\d-\d\d\.xlsx$"))
    with page.expect_download() as download:
        job.get_by_role("link", name="Download").click()
    download.value.save_as(tmp_path / "saved.xlsx")
    assert openpyxl.load_workbook(tmp_path / "saved.xlsx").sheetnames == ["March to September"]


def test_a_filter_s_operator_is_chosen_beside_its_value(client: Client, page: Page) -> None:
    page.get_by_role("combobox", name="Dataset").select_option("searched")

    def operator(of: str) -> Locator:
        return page.locator(".compared").filter(has=page.get_by_text(of, exact=True)).get_by_label("Operator")

    assert operator("Status").get_by_role("option").all_text_contents() == ["is", "is not", "is empty", "is not empty"]
    assert operator("Ids").get_by_role("option").all_text_contents() == ["is any of", "is none of"]
    assert operator("Instrument").get_by_role("option").all_text_contents() == [
        *("is", "is not", "contains", "does not contain", "starts with", "does not start with"),
        *("is empty", "is not empty"),
    ]
    page.get_by_label("Instrument", exact=True).fill("usd")
    operator("Instrument").select_option("does not contain")  # the value stays
    operator("Status").select_option("is not empty")
    expect(page.get_by_label("Status", exact=True)).to_be_disabled()
    operator("Ids").select_option("is none of")
    page.get_by_label("Ids", exact=True).fill("a\nb")
    page.get_by_role("combobox", name="Exit", exact=True).select_option("is empty")
    with page.expect_request("**/v1/preview") as sent:
        page.get_by_role("button", name="Preview").click()
    body: Any = sent.value.post_data_json
    params = {"instrument.not.contains": "usd", "status.is_empty": "false", "ids.not": ["a", "b"]}
    assert body["source"]["params"] == params | {"exit.is_empty": "true"}
    expect(page.get_by_role("status").filter(has_text=re.compile("row"))).to_be_visible()
    operator("Status").select_option("is")
    operator("Instrument").select_option("is")
    with page.expect_request("**/v1/preview") as sent:
        page.get_by_role("button", name="Preview").click()
    again: Any = sent.value.post_data_json
    assert again["source"]["params"] == {"instrument": "usd", "ids.not": ["a", "b"], "exit.is_empty": "true"}


@pytest.mark.parametrize(
    ("day", "time", "zone", "moment"),
    [
        ("2025-03-01", "09:30", "UTC", "2025-03-01T09:30:00+00:00"),
        ("2025-03-01", "09:30", "Asia/Shanghai", "2025-03-01T09:30:00+08:00"),
        ("2025-07-01", "00:00", "America/St_Johns", "2025-07-01T00:00:00-02:30"),
        ("2025-03-30", "01:59", "Europe/Berlin", "2025-03-30T01:59:00+01:00"),
        ("2025-03-30", "02:30", "Europe/Berlin", "2025-03-30T02:30:00+01:00"),  # left out
        ("2025-03-30", "03:00", "Europe/Berlin", "2025-03-30T03:00:00+02:00"),
        ("2025-10-26", "01:59", "Europe/Berlin", "2025-10-26T01:59:00+02:00"),
        ("2025-10-26", "02:30", "Europe/Berlin", "2025-10-26T02:30:00+02:00"),  # twice
        ("2025-10-26", "03:00", "Europe/Berlin", "2025-10-26T03:00:00+01:00"),
    ],
)
def test_a_time_is_one_of_the_filter_s_own_zone(page: Page, day: str, time: str, zone: str, moment: str) -> None:
    """With a dataset that filters by days of this zone."""

    def declared(route: Route) -> None:
        reported = route.fetch().json()
        reported["data"][0]["filters"][0]["zone"] = zone
        route.fulfill(json=reported)

    page.route("**/v1/datasets", declared)
    page.reload()
    page.get_by_label("Date from").fill(day)
    field = page.get_by_label(f"Start time, in {zone}")
    field.fill(time)
    field.blur()
    with page.expect_request("**/v1/preview") as sent:
        page.get_by_role("button", name="Preview").click()
    asked_for: Any = sent.value.post_data_json
    assert asked_for["source"]["params"]["dateFrom"] == moment
    expect(page.get_by_role("status").filter(has_text=re.compile("row"))).to_be_visible()


def test_a_stream_is_listed_and_can_be_repeated_but_has_no_file_to_fetch(client: Client, page: Page) -> None:
    body = {"source": {"dataset": "trades", "params": {"limit": 4}}, "format": "csv", "filename": "streamed"}
    assert client.post("/v1/stream", body).status_code == 200
    page.reload()
    job = newest(page, "completed")
    expect(job.get_by_role("heading")).to_have_text("streamed.csv")
    assert job.get_by_role("button").all_inner_texts() == ["Repeat"]
    expect(job.get_by_role("link")).to_have_count(0)
    expect(job).not_to_contain_text("link")


def test_progress_and_remaining_time_are_shown(browser: Browser, tmp_path: Path) -> None:
    with (
        emulator(tmp_path, 300_000) as database,
        FaultProxy(database, "slow", after_bytes=8_000_000, slow_bytes_s=200_000) as slow,
        service(tmp_path, slow.url) as running,
        browser.new_context(base_url=running.base) as context,
    ):
        # The emulator's first count takes longer than counting may on a busy machine; then no total is known.
        counted = running.post("/v1/stream", {"source": {"query": "SELECT COUNT(*) AS n FROM users"}})
        assert counted.text == "n\n300000\n"
        page = context.new_page()
        page.goto("/sign-in")
        page.get_by_role("button", name="sign in as dev").click()
        expect(page.get_by_role("radio", name="SQL")).to_have_count(0)  # there is no dataset to choose instead
        page.get_by_role("textbox", name="Query").fill("SELECT * FROM users")
        created(page)
        job = newest(page, "running")
        figures = job.locator(".figures")
        expect(figures).to_contain_text(
            re.compile(r"[1-9][\d,]* of 300,000 rows .* [\d.]+ % · [\d:]+ left"), timeout=PATIENCE_MS
        )
        bar = job.get_by_role("progressbar")
        assert 0 < bar.evaluate("bar => bar.position") < 1
        job.get_by_role("button", name="Cancel").click()
        newest(page, "canceled")


def test_a_failed_export_has_its_reason_and_a_canceled_one_ends(page: Page) -> None:
    sql(page, "SELECT nothing FROM trades")
    created(page)
    failure = newest(page, "failed").locator(".failure")
    expect(failure).to_contain_text("Change the export")
    color = failure.evaluate("element => getComputedStyle(element).color")
    assert color == "rgb(179, 38, 30)"
    sql(page, ENDLESS)
    created(page)
    job = newest(page, "running")
    job.get_by_role("button", name="Cancel").click()
    newest(page, "canceled")


def test_an_export_is_repeated_and_its_one_time_link_opens_a_page_that_redeems_it(
    client: Client, page: Page, tmp_path: Path
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label("Row limit").fill("7")
    created(page)
    first = newest(page, "completed")
    before = first.get_attribute("data-id")
    first.get_by_role("button", name="Repeat").click()
    expect(page.locator(".job").first).not_to_have_attribute("data-id", str(before))
    job = newest(page, "completed")
    expect(job).to_contain_text("7 rows")
    job.get_by_role("button", name="One-time link").click()
    expect(job.get_by_text("One-time link copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    for _ in range(2):  # looking uses nothing up
        page.goto(link)
    expected = client.post("/v1/stream", {"source": {"dataset": "trades", "params": {"limit": 7}}}).content
    for name in ("saved.csv", "again.csv"):  # the browser proves by its cookie that it is the same
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        download.value.save_as(tmp_path / name)
        assert (tmp_path / name).read_bytes() == expected
        assert client.plain_get(link).json()["code"] == "link_used"
        page.goto(link)


def test_a_link_expires_and_a_new_one_is_requested(page: Page) -> None:
    page.clock.install()
    page.get_by_label("Row limit").fill("1")
    created(page)
    page.clock.run_for(2000)
    job = newest(page, "completed")
    page.clock.fast_forward("01:00:10")
    expect(job).to_contain_text("The link has expired")
    expect(job.get_by_role("link", name="Download")).to_have_count(0)
    with page.expect_response(re.compile("/links$")) as renewed:
        job.get_by_role("button", name="Renew link").click()
    assert renewed.value.status == 201


def tab_to(page: Page, target: Locator) -> None:
    for _ in range(80):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{target} cannot be reached by Tab")


def test_everything_can_be_done_by_keys_alone(client: Client, stranger: Page) -> None:
    stranger.goto("/sign-in")
    expect(stranger.get_by_label("User")).to_be_focused()
    stranger.keyboard.type("ann")
    stranger.keyboard.press("Tab")
    stranger.keyboard.type(PASSWORD)
    stranger.keyboard.press("Enter")
    expect(stranger.get_by_role("heading", name="New export")).to_be_visible()
    tab_to(stranger, stranger.get_by_role("checkbox", name="tags"))
    stranger.keyboard.press("Space")
    expect(stranger.get_by_text("10 of 11 chosen")).to_be_visible()
    tab_to(stranger, stranger.get_by_role("button", name="Create Export"))
    before = stranger.locator(".job").first.get_attribute("data-id") if stranger.locator(".job").count() else ""
    stranger.keyboard.press("Enter")
    expect(stranger.locator(".job").first).not_to_have_attribute("data-id", before or "-")
    job = newest(stranger, "completed")
    tab_to(stranger, job.get_by_role("link", name="Download"))
    with stranger.expect_download() as download:
        stranger.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".csv")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/sign-in", "/exports"])
def test_a_phone_shows_every_page_without_scrolling_sideways(page: Page, path: str, scheme: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    if path == "/exports":
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("columnheader").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(16, 22, 29)") is (scheme == "dark")


def test_every_field_and_button_has_an_accessible_name(page: Page) -> None:
    page.get_by_text("More options").click()
    page.get_by_role("combobox", name="Format").select_option("xlsx")
    fields = page.locator("input, select, textarea, button, a").all()
    assert len(fields) > 40
    unnamed = [
        f.evaluate("e => e.outerHTML") for f in fields if not re.search(r'"[^"]+"', f.aria_snapshot().split("\n")[0])
    ]
    assert unnamed == []


def test_a_page_allows_nothing_inline_and_nothing_from_outside(client: Client) -> None:
    for path in ("/", "/exports", "/sign-in"):
        answer = client.plain_get(path)
        policy = answer.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= set(policy)
        assert "unsafe" not in answer.headers["content-security-policy"]
        files = re.findall(r'(?:src|href)="(/[^"]+)"', answer.text)
        assert files
        for file in files:
            got = client.plain_get(file)
            assert (got.status_code, got.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
            assert "http://" not in got.text.replace("http://www.w3.org/", "")


@pytest.mark.parametrize(
    "name", ["..%2f..%2froutes.py", ".vite", "%2e%2e%2fshell.py", "nothing.js", ".vite%2fmanifest.json"]
)
def test_nothing_but_the_front_end_is_below_static(client: Client, name: str) -> None:
    assert client.plain_get(f"/static/{name}").status_code == 404

"""The text of mails: words, names, and nothing that a mail program would run or fetch."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxport.delivery.letter import Mail, SentFile, compose, duration_words, encoded_size
from fluxport.error_codes import Failure
from fluxport.errors import Refused

FILE = SentFile("orders.csv", "text/csv", 1, 9, "0" * 64, "https://exports.example.com/file?token=a", 2000.0)
MAIL = Mail("ann@example.org", "0b5c", FILE, 0.0, 1.0, 2.0)
SENDER = Address(addr_spec="exports@example.com")
ANY_TEXT = st.text(st.characters(), max_size=200)  # lone surrogates, too


def read(mail: Mail) -> EmailMessage:
    letter = compose(mail, SENDER, mail.recipient, attach=False)
    message = message_from_bytes(b"".join(letter.chunks()), policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def body(mail: Mail, kind: str) -> str:
    part = read(mail).get_body((kind,))
    assert part is not None
    return str(part.get_content())


class Tags(HTMLParser):
    """Names of the tags, their attributes, and the text between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "less than 0.1 seconds"),
        (0.04, "less than 0.1 seconds"),
        (0.4, "0.4 seconds"),
        (0.96, "1 second"),
        (1.5, "1.5 seconds"),
        (9.96, "10 seconds"),
        (59.4, "59 seconds"),
        (59.6, "1 minute"),
        (61, "1 minute 1 second"),
        (3600, "1 hour"),
        (3605, "1 hour"),
        (7325, "2 hours 2 minutes"),
        (90_000, "1 day 1 hour"),
        (86400 * 400, "400 days"),
    ],
)
def test_durations_are_written_in_words(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


@given(st.floats(0, 1e8))
def test_durations_show_their_length_but_for_omitted_units(seconds: float) -> None:
    lengths = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
    reported = sum(float(n) * lengths[unit] for n, unit in re.findall(r"([\d.]+) (\w+?)s?\b", duration_words(seconds)))
    assert reported == pytest.approx(seconds, rel=1 / 24, abs=0.51)


@given(st.integers(0, 5000))
def test_the_encoded_size_is_that_of_base64_with_crlf(size: int) -> None:
    assert encoded_size(size) == len(base64.encodebytes(bytes(size)).replace(b"\n", b"\r\n"))


@pytest.mark.slow
@given(ANY_TEXT, ANY_TEXT)
def test_no_name_of_a_file_or_failure_breaks_the_mail(one: str, other: str) -> None:
    file = replace(FILE, name=one, warnings=(other,))
    for outcome in (file, Failure(one, other)):
        mail = replace(MAIL, outcome=outcome, export_id=one)
        message = read(mail)
        assert len(message.get_all("To", [])) == len(message.get_all("Subject", [])) == 1
        assert message["Bcc"] is None
        html = Tags(body(mail, "html"))
        assert html.tags <= {"html", "body", "p", "a", "table", "tr", "th", "td"}
        assert html.attributes <= {"lang", "style", "href", "scope", "align", "valign"}


@given(ANY_TEXT)
def test_a_name_cannot_leave_its_header_or_its_folder(name: str) -> None:
    letter = compose(replace(MAIL, outcome=replace(FILE, name=name)), SENDER, MAIL.recipient, attach=True)
    message = message_from_bytes(letter.head + letter.tail, policy=policy.default)
    assert isinstance(message, EmailMessage)
    (part,) = message.iter_attachments()
    assert not set(part.get_filename() or "") & set("/\\\r\n\u202e\0")
    assert part.get_content_type() == "text/csv"
    assert len(part.keys()) <= 4


def test_markup_in_names_is_shown_as_text() -> None:
    mail = replace(MAIL, outcome=replace(FILE, name="<img src=x onerror=alert(1)>.csv"))
    html = Tags(body(mail, "html"))
    assert "img" not in html.tags
    assert "<img src=x onerror=alert(1)>.csv" in html.text


def test_text_that_runs_from_right_to_left_cannot_disguise_a_name() -> None:
    assert "invoicexcod.exe" in body(replace(MAIL, outcome=replace(FILE, name="invoice\u202excod.exe")), "plain")


@pytest.mark.parametrize(
    "link",
    [
        "s3://bucket/exports/0b5c.csv",
        "file:///exports/0b5c.csv",
        "javascript:alert(1)",
        "/v1/exports/0b5c/file",
        "https://",
        "https://example.com/a b",
        "https://example.com/\r\nx",
    ],
)
def test_a_link_that_its_reader_cannot_open_is_refused(link: str) -> None:
    with pytest.raises(Refused) as caught:
        replace(FILE, link=link)
    assert caught.value.code == "bad_link"


def test_links_and_addresses_are_not_shown_by_repr() -> None:
    assert "token" not in repr(MAIL)
    assert "ann@" not in repr(MAIL)


def test_without_a_link_the_mail_explains_how_to_get_the_file() -> None:
    plain = body(replace(MAIL, outcome=replace(FILE, link=None)), "plain")
    assert "Request the file from the service with the job id below." in plain
    assert "link" not in plain


def test_changes_of_the_data_are_listed_up_to_a_limit() -> None:
    warnings = tuple(f"column 'c{number}': cut (1)" for number in range(50))
    plain = body(replace(MAIL, outcome=replace(FILE, warnings=warnings)), "plain")
    assert "column 'c19': cut (1)" in plain
    assert "column 'c20'" not in plain
    assert "and 30 more" in plain

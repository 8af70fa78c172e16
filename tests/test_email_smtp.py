"""Sending mails: a real SMTP server accepts, refuses or fails; accepted mails are parsed by the standard library."""

from __future__ import annotations

import hashlib
import logging
import re
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from fluxport.config import load
from fluxport.delivery.email import EmailOptions, Mail, SentFile, send_email
from fluxport.delivery.letter import compose
from fluxport.error_codes import Failure
from fluxport.errors import Broken, FluxportError, Forbidden, Refused, Unavailable
from fluxport.stages import Chunks
from mail_receiver import CLOSE, PASSWORD, USER, MailServer, mail_server
from own_certificates import Certificates, make_certificates

DATA = b"id,name\r\n" + b"".join(b"%d,.name\r\n" % number for number in range(20_000))
LINK = "https://exports.example.com/v1/exports/0b5c/file?token=eyJ&x=<1>"
SENDER = Address(addr_spec="exports@example.com")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("ca"), "127.0.0.1")


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as made:
        yield made


def options_at(host: str, port: int, sender: str, **changes: Any) -> EmailOptions:
    plain = EmailOptions(host, port, sender=sender, security="auto", attachment_max_bytes=10 << 20)
    return replace(plain, **changes)


def options(server: MailServer, **changes: Any) -> EmailOptions:
    plain = options_at("127.0.0.1", server.port, "Exports <exports@example.com>", timeout_s=10)
    return replace(plain, **changes)


def sent_file(data: bytes = DATA, *, attach: bool = True, **changes: Any) -> SentFile:
    def chunks() -> Chunks:
        for start in range(0, len(data), 10_007):
            yield memoryview(data)[start : start + 10_007]

    sha256 = hashlib.sha256(data).hexdigest()
    made = SentFile("orders.csv", "text/csv; charset=utf-8", 20_000, len(data), sha256, LINK, 1_767_312_000.0)
    return replace(made, **({"chunks": chunks if attach else None} | changes))


def mail(outcome: SentFile | Failure, **changes: Any) -> Mail:
    made = Mail("ann@example.org", "0b5c", outcome, 1_767_225_600.0, 1_767_225_603.0, 1_767_225_672.0, 66.4)
    return replace(made, **changes)


def attachment(message: EmailMessage) -> EmailMessage:
    (part,) = message.iter_attachments()
    assert isinstance(part, EmailMessage)
    return part


def bodies(message: EmailMessage) -> tuple[str, str]:
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    return plain.get_content().replace("\r\n", "\n"), html.get_content()


@contextmanager
def answering(greeting: bytes) -> Iterator[int]:
    """The port of a server that sends only these lines."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(greeting)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1000):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_without_an_attachment_the_mail_carries_the_link_and_every_fact(server: MailServer) -> None:
    send_email(options(server), mail(sent_file(attach=False)))
    (taken,) = server.mails
    message = taken.message()
    assert (taken.sender, taken.recipients) == ("exports@example.com", ["ann@example.org"])
    assert message["Subject"] == "Your Database Export is Ready"
    assert message["From"] == "Exports <exports@example.com>"
    assert message["To"] == "ann@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    plain, html = bodies(message)
    assert LINK in plain.splitlines()
    assert f'href="{LINK.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}"' in html
    facts = dict(re.findall(r"^([A-Z][A-Za-z0-9 -]+): +(.+)$", plain, re.MULTILINE))
    assert facts == {
        "File": "orders.csv",
        "Rows": "20,000",
        "Size": f"{len(DATA) / 1000:.1f} kB ({len(DATA):,} bytes)",
        "SHA-256": hashlib.sha256(DATA).hexdigest(),
        "Job id": "0b5c",
        "Submitted": "2026-01-01 00:00:00 UTC",
        "Started": "2026-01-01 00:00:03 UTC (wait: 3 seconds)",
        "Finished": "2026-01-01 00:01:12 UTC",
        "Total duration": "1 minute 12 seconds",
        "Query time": "1 minute 6 seconds",
    }
    assert "The link works until 2026-01-02 00:00:00 UTC." in plain
    assert list(message.iter_attachments()) == []


def test_the_attached_file_arrives_byte_for_byte(server: MailServer) -> None:
    send_email(options(server), mail(sent_file(name="Übersicht ☃.csv")))
    message = server.mails[0].message()
    assert message["Subject"] == "Your Database Export is Ready (Attached)"
    part = attachment(message)
    assert part.get_payload(decode=True) == DATA
    assert part.get_filename() == "Übersicht ☃.csv"
    assert part["Content-Type"] == 'text/csv; charset="utf-8"'
    assert all(len(line) <= 998 for line in server.mails[0].content.splitlines())


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, 114, 10_007])
def test_a_file_of_any_length_arrives_with_the_predicted_encoded_size(server: MailServer, size: int) -> None:
    file = sent_file(DATA[:size])
    letter = compose(mail(file), SENDER, "ann@example.org", attach=True)
    assert len(b"".join(letter.chunks())) == letter.size_bytes
    send_email(options(server), mail(file))
    assert attachment(server.mails[0].message()).get_payload(decode=True) == DATA[:size]


def test_the_limit_is_that_of_the_file(server: MailServer) -> None:
    for limit in (len(DATA), len(DATA) - 1):
        send_email(options(server, attachment_max_bytes=limit), mail(sent_file()))
    attached, linked = (taken.message() for taken in server.mails)
    assert attached["Subject"] == "Your Database Export is Ready (Attached)"
    assert linked["Subject"] == "Your Database Export is Ready"
    assert list(linked.iter_attachments()) == []
    assert LINK in bodies(linked)[0]
    assert "not attached: it is too large" in bodies(linked)[0]


def test_a_server_that_takes_less_gets_the_link() -> None:
    with mail_server(data_size_limit=100_000) as server:
        send_email(options(server), mail(sent_file()))
    assert server.commands == ["MAIL", "RCPT", "DATA", "QUIT"]
    assert server.mails[0].message()["Subject"] == "Your Database Export is Ready"


@pytest.mark.parametrize(
    ("command", "reply"),
    [(command, "552 5.3.4 Message too big") for command in ("MAIL", "RCPT", "DATA")]
    + [("DATA", "554 5.7.1 This kind of attachment is not accepted")],
)
def test_a_server_that_refuses_the_attachment_only_then_gets_the_link(command: str, reply: str) -> None:
    with mail_server({command: [reply]}) as server:
        send_email(options(server), mail(sent_file()))
    assert LINK in bodies(server.mails[0].message())[0]
    with mail_server({command: [reply] * 2}) as server, pytest.raises(Refused):
        send_email(options(server), mail(sent_file()))


@contextmanager
def hanging_up(letters: list[bytes]) -> Iterator[int]:
    """The port of a server that closes a connection within a letter of more than 50,000 bytes, and stores others."""

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as lines:
            lines.write(b"220 ready\r\n")
            lines.flush()
            while line := lines.readline():
                if line.startswith(b"DATA"):
                    lines.write(b"354 go on\r\n")
                    lines.flush()
                    letter = b""
                    while (part := lines.readline()) != b".\r\n":
                        letter += part
                        if len(letter) > 50_000:
                            return
                    letters.append(letter)
                lines.write(b"250 OK\r\n")
                lines.flush()

    def accept() -> None:
        with suppress(OSError):
            while True:
                serve(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_server_that_hangs_up_within_a_large_letter_gets_the_link() -> None:
    letters: list[bytes] = []
    with hanging_up(letters) as port:
        data = DATA * (1 + (8 << 20) // len(DATA))  # more than the system takes for a connection that is not read
        send_email(options_at("127.0.0.1", port, "exports@example.com"), mail(sent_file(data)))
    (letter,) = letters
    assert b"Subject: Your Database Export is Ready\r\n" in letter


def test_a_temporary_refusal_is_no_reason_for_a_link() -> None:
    with mail_server({"DATA": ["452 4.3.1 Insufficient storage"]}) as server, pytest.raises(Unavailable):
        send_email(options(server), mail(sent_file()))
    assert server.mails == []


def test_the_largest_attachment_of_fluxquery_arrives() -> None:
    size = 25 << 20
    block = bytes(range(256)) * 256
    sha256 = hashlib.sha256(block * (size // len(block))).hexdigest()

    def chunks() -> Chunks:
        for _ in range(size // len(block)):
            yield block

    file = sent_file(chunks=chunks, size_bytes=size, sha256=sha256)
    with mail_server(data_size_limit=64 << 20) as server:
        send_email(options(server, attachment_max_bytes=size), mail(file))
    received = attachment(server.mails[0].message()).get_payload(decode=True)
    assert isinstance(received, bytes)
    assert (len(received), hashlib.sha256(received).hexdigest()) == (size, sha256)


def test_attachments_may_be_as_large_as_at_fluxquery_where_its_variable_asks_for_them(tmp_path: Path) -> None:
    asked = {"EMAIL_ATTACH_FILE": "true"}
    assert load(environ={}, folder=tmp_path).email.attachment_max_bytes == 10 << 20
    assert load(environ=asked, folder=tmp_path).email.attachment_max_bytes == 25 << 20
    (tmp_path / "fluxport.yaml").write_text("email: {attachment_max_bytes: 1000}")
    assert load(environ=asked, folder=tmp_path).email.attachment_max_bytes == 1000


def test_a_letter_is_sent_without_the_file_ever_being_in_memory() -> None:
    size, block = 20 << 20, bytes(1 << 16)

    def chunks() -> Chunks:
        for _ in range(size // len(block)):
            yield block

    sha256 = hashlib.sha256(bytes(size)).hexdigest()
    letter = compose(mail(sent_file(chunks=chunks, size_bytes=size, sha256=sha256)), SENDER, "a@b.example", attach=True)
    tracemalloc.start()
    try:
        assert sum(map(len, letter.chunks())) == letter.size_bytes
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data", [DATA[:-1], DATA + b"x", DATA.replace(b"19999", b"29999")], ids=["short", "long", "other"]
)
def test_a_file_that_differs_from_the_recorded_one_is_not_mailed(server: MailServer, data: bytes) -> None:
    closed = []

    def chunks() -> Chunks:
        try:
            yield data
        finally:
            closed.append(True)

    with pytest.raises(Broken) as caught:
        send_email(options(server), mail(sent_file(chunks=chunks)))
    assert caught.value.code == "file_changed"
    assert server.mails == []
    assert closed == [True]


def test_a_store_that_fails_half_way_makes_no_mail(server: MailServer) -> None:
    def failing(error: Exception) -> Chunks:
        yield DATA[:1000]
        raise error

    for error, code in (
        (Unavailable("The store is away.", code="store_failed"), "store_failed"),
        (OSError(5, ""), "file_unread"),
    ):
        with pytest.raises(Unavailable) as caught:
            send_email(options(server), mail(sent_file(chunks=lambda error=error: failing(error))))
        assert caught.value.code == code
    assert server.mails == []


def test_a_failed_export_is_reported_with_its_sentence(server: MailServer) -> None:
    failure = Failure("query_failed", ".The database\r\nrejected <the> query.")
    send_email(options(server), mail(failure, started_at=None, query_s=None))
    message = server.mails[0].message()
    assert message["Subject"] == "Your Database Export Failed"
    plain, html = bodies(message)
    assert ".The database  rejected <the> query." in plain.splitlines()
    assert "rejected &lt;the&gt; query." in html
    assert "query_failed" in plain
    assert "Started" not in plain
    assert "No file was stored" in plain


def test_a_mail_sent_again_is_recognisably_the_same(server: MailServer) -> None:
    first = mail(sent_file(attach=False))
    for each in (
        first,
        first,
        mail(Failure("x", "y")),
        replace(first, recipient="bob@example.org"),
        replace(first, export_id="0b5d"),
    ):
        send_email(options(server), each)
    ids = [taken.message()["Message-ID"] for taken in server.mails]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"<[0-9a-f]{32}@example\.com>", each) for each in ids)
    assert server.mails[0].message()["Date"] == server.mails[1].message()["Date"]


@pytest.mark.parametrize("security", ["starttls", "auto"])
def test_starttls_is_used_where_it_is_offered(certificates: Certificates, security: str) -> None:
    with mail_server(tls_context=certificates.server_context, require_starttls=True, login=True) as server:
        secured = options(server, security=security, ca_file=certificates.ca_file, user=USER, password=PASSWORD)
        send_email(secured, mail(sent_file()))
    assert server.mails[0].encrypted
    assert server.mails[0].authenticated


def test_tls_from_the_first_byte(certificates: Certificates) -> None:
    with mail_server(ssl_context=certificates.server_context) as server:
        send_email(options(server, security="tls", ca_file=certificates.ca_file), mail(sent_file()))
    assert attachment(server.mails[0].message()).get_payload(decode=True) == DATA


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("case", ["unknown authority", "another name"])
def test_a_server_whose_certificate_does_not_fit_gets_no_login(
    certificates: Certificates, tmp_path: Path, security: str, case: str
) -> None:
    other = make_certificates(tmp_path, "mail.example.com")
    shown, trusted = (certificates, other) if case == "unknown authority" else (other, other)
    settings: dict[str, Any] = {"tls_context" if security == "starttls" else "ssl_context": shown.server_context}
    with mail_server(**settings, login=True) as server:
        secured = options(server, security=security, ca_file=trusted.ca_file, user=USER, password=PASSWORD)
        with pytest.raises(Refused) as caught:
            send_email(secured, mail(sent_file()))
    assert caught.value.code == "mail_tls"
    assert (server.logins, server.mails) == ([], [])


@pytest.mark.parametrize("security", ["starttls", "auto"])
def test_no_password_goes_over_a_connection_in_the_clear(security: str) -> None:
    with mail_server(login=True, auth_require_tls=False) as server:
        with pytest.raises(Refused) as caught:
            send_email(options(server, security=security, user=USER, password=PASSWORD), mail(sent_file()))
    assert caught.value.code == "mail_tls"
    assert server.logins == []


def test_a_password_is_sent_in_clear_text_only_with_security_none() -> None:
    with mail_server(login=True, auth_require_tls=False) as server:
        send_email(options(server, security="none", user=USER, password=PASSWORD), mail(sent_file()))
    assert server.mails[0].authenticated


def test_a_wrong_password_is_refused_and_shown_nowhere(certificates: Certificates) -> None:
    with mail_server(tls_context=certificates.server_context, login=True) as server:
        wrong = options(server, ca_file=certificates.ca_file, user=USER, password="wrong-pass-word")
        with pytest.raises(Refused) as caught:
            send_email(wrong, mail(sent_file()))
    assert caught.value.code == "mail_auth"
    assert "wrong-pass-word" not in f"{caught.value.message} {caught.value.detail} {wrong!r}"


def test_a_login_that_the_server_does_not_offer_is_refused(server: MailServer) -> None:
    with pytest.raises(Refused) as caught:
        send_email(options(server, security="none", user=USER, password=PASSWORD), mail(sent_file()))
    assert caught.value.code == "mail_auth"


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("answer", "family"),
    [
        ("421 shutting down", Unavailable),
        ("450 busy", Unavailable),
        ("451 greylisted ann@example.org", Unavailable),
        ("452 no room", Unavailable),
        ("550 no such user ann@example.org", Refused),
        ("553 not so", Refused),
        ("554 spam", Refused),
        (CLOSE, Unavailable),
    ],
)
def test_temporary_replies_are_retried_and_permanent_ones_not(
    command: str, answer: str, family: type[FluxportError]
) -> None:
    with mail_server({command: [answer]}) as server:
        with pytest.raises(family) as caught:
            send_email(options(server), mail(sent_file(attach=False)))
    assert type(caught.value) is family
    assert "ann@example.org" not in caught.value.message
    assert server.mails == []
    if command == "RCPT" and family is Refused:
        assert caught.value.code == "bad_recipient"


@pytest.mark.parametrize(
    ("greeting", "family"),
    [(b"421 later\r\n", Unavailable), (b"554 no\r\n", Refused), (b"", Unavailable), (b"\0\xff\r\n", Unavailable)],
)
def test_the_greeting_is_an_answer_too(greeting: bytes, family: type[FluxportError]) -> None:
    with answering(greeting) as port:
        with pytest.raises(family):
            send_email(options_at("127.0.0.1", port, "a@b.example"), mail(sent_file()))


def test_a_server_that_sends_nothing_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unavailable) as caught:
            send_email(options_at("127.0.0.1", port, "a@b.example", timeout_s=0.2), mail(sent_file()))
    with pytest.raises(Unavailable):
        send_email(options_at("127.0.0.1", port, "a@b.example"), mail(sent_file()))
    assert caught.value.code == "mail_unavailable"


def test_an_international_address_is_written_to_where_the_server_takes_it() -> None:
    recipient = "jörg@müller.example"
    with mail_server(enable_SMTPUTF8=True) as server:
        send_email(options(server), mail(sent_file(), recipient=recipient))
    assert server.mails[0].recipients == ["jörg@xn--mller-kva.example"]
    assert "SMTPUTF8" in server.mails[0].options
    assert server.mails[0].message()["To"] == "jörg@xn--mller-kva.example"
    with mail_server(enable_SMTPUTF8=False) as server:
        with pytest.raises(Refused) as caught:
            send_email(options(server), mail(sent_file(), recipient=recipient))
    assert caught.value.code == "bad_recipient"
    assert server.commands == []


def test_what_happens_after_the_mail_was_taken_does_not_send_it_twice() -> None:
    with mail_server({"QUIT": [CLOSE]}) as server:
        send_email(options(server), mail(sent_file()))
    assert len(server.mails) == 1


def test_only_allowed_domains_are_written_to(server: MailServer) -> None:
    send_email(options(server), mail(sent_file()), domains={"example.org"})
    with pytest.raises(Forbidden):
        send_email(options(server), mail(sent_file()), domains={"example.com"})
    assert len(server.mails) == 1


def test_without_a_host_a_mail_is_logged_without_address_or_link(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        send_email(options_at("", 0, ""), mail(sent_file()))
    (record,) = caplog.records
    assert "only logged" in record.getMessage()
    assert record.__dict__["task_id"] == "0b5c"
    assert "ann@" not in record.getMessage()
    assert "https" not in record.getMessage()
    with pytest.raises(Refused):
        send_email(options_at("", 0, ""), mail(sent_file(), recipient="nobody"))


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": ""},
        {"sender": "Exports"},
        {"sender": "Exports\r\nBcc: x@y.example <a@b.example>"},
        {"sender": "a@b.example\r\nBcc: x@y.example"},
        {"sender": "jörg@example.com"},
        {"password": "pässword"},
    ],
)
def test_invalid_settings_are_refused_at_start(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        replace(options_at("mail.example.com", 25, "a@b.example"), **changes)

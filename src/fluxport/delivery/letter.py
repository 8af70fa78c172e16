"""The text of a mail about an export, and its bytes.

A letter is plain text with an HTML alternative of the same text, without external content. The stored file is its last
part and never in memory as a whole: the library writes the message with an empty attachment, and the file is encoded
into its place, just before the closing boundary, while the letter is sent:

    head | text, HTML, header of the attachment |   base64 of the file   | tail: closing boundary |
           written by the library                  encoded while sent
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from html import escape

from fluxport.error_codes import Failure
from fluxport.errors import Broken, Refused, Unavailable
from fluxport.headers import one_line
from fluxport.stages import Chunks

_LINE_BYTES = 57  # of the file on a line of 76 characters (RFC 2045, 6.8)
_WARNINGS_MAX = 20
_LINK = re.compile(r"https?://[!-~]{1,2000}")


@dataclass(frozen=True)
class SentFile:
    """A stored file. ``link`` opens it in a browser; ``chunks`` opens it for an attachment, None for no attachment."""

    name: str
    media_type: str
    rows: int
    size_bytes: int
    sha256: str
    link: str | None = field(default=None, repr=False)
    link_expires_at: float | None = None
    chunks: Callable[[], Chunks] | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()  # sentences of findings

    def __post_init__(self) -> None:
        if self.link is not None and not _LINK.fullmatch(self.link):
            raise Refused("A link in a mail must be an http(s) URL that its recipient can open.", code="bad_link")


@dataclass(frozen=True)
class Mail:
    """One mail to one person about one export; times are Unix seconds."""

    recipient: str = field(repr=False)
    export_id: str
    outcome: SentFile | Failure
    submitted_at: float
    started_at: float | None
    finished_at: float
    query_s: float | None = None


@dataclass(frozen=True)
class Letter:
    """The bytes of a mail, except those of the attached file, which are read from the store while it is sent."""

    head: bytes
    file: SentFile | None
    tail: bytes
    size_bytes: int  # of the whole, encoded

    def chunks(self) -> Iterator[bytes]:
        """The whole letter in order; Broken before its last chunk if the file's size or SHA-256 differs."""
        yield self.head
        if self.file is not None:
            yield from _encoded(self.file)
        yield self.tail


def compose(mail: Mail, sender: Address, recipient: str, *, attach: bool) -> Letter:
    """The letter of ``mail``, with the same text and Message-ID in every attempt. ``recipient`` is checked."""
    name, _, domain = recipient.rpartition("@")
    rules = policy.SMTP if recipient.isascii() else policy.SMTPUTF8
    message = EmailMessage(rules)
    message["From"] = sender
    message["To"] = Address(username=name, domain=domain)
    message["Subject"] = _subject(mail.outcome, attach=attach)
    message["Date"] = datetime.fromtimestamp(int(mail.finished_at), UTC)
    message["Message-ID"] = message_id(mail, sender.domain)
    # Prevents replies by out-of-office notes and mailing lists (RFC 3834; the second header is Exchange's).
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    lead, facts = _lead(mail.outcome, attach=attach), _facts(mail)
    link = mail.outcome.link if isinstance(mail.outcome, SentFile) else None
    message.set_content(_plain(lead, link, facts), cte="quoted-printable")
    message.add_alternative(_html(lead, link, facts), subtype="html", cte="quoted-printable")
    if not (attach and isinstance(mail.outcome, SentFile)):
        raw = message.as_bytes()
        return Letter(raw, None, b"", len(raw))
    message.make_mixed()
    message.attach(_empty_part(mail.outcome, rules))
    raw = message.as_bytes()
    closing_line = f"\r\n--{message.get_boundary()}--".encode()
    head, delimiter, end = raw.rpartition(closing_line)
    tail = delimiter + end
    return Letter(head, mail.outcome, tail, len(raw) + encoded_size(mail.outcome.size_bytes))


def message_id(mail: Mail, domain: str) -> str:
    """The same id for every attempt of a notification to one recipient, by which mail stores drop duplicates."""
    event = "failed" if isinstance(mail.outcome, Failure) else "completed"
    digest = hashlib.sha256(
        "\n".join([mail.export_id, event, mail.recipient]).encode("utf-8", "surrogatepass")
    ).hexdigest()
    return f"<{digest[:32]}@{domain}>"


def encoded_size(size_bytes: int) -> int:
    """The size of a file as lines of base64."""
    lines, rest = divmod(size_bytes, _LINE_BYTES)
    return lines * 78 + (-(-rest // 3) * 4 + 2 if rest else 0)


def duration_words(seconds: float) -> str:
    """``0.4 seconds``, ``1 minute 12 seconds``, ``2 days 3 hours``: the two largest units, without zeros."""
    if seconds < 9.95:
        tenths = round(max(seconds, 0.0), 1)
        if tenths < 0.1:
            return "less than 0.1 seconds"
        return "1 second" if tenths == 1 else f"{tenths:g} seconds"
    rest, words = round(seconds), []
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, rest = divmod(rest, length)
        words.append(f"{count} {unit}{'s' if count != 1 else ''}" if count else "")
    first = next(index for index, word in enumerate(words) if word)
    return " ".join(word for word in words[first : first + 2] if word)


def _subject(outcome: SentFile | Failure, *, attach: bool) -> str:
    if isinstance(outcome, Failure):
        return "Your Database Export Failed"
    return "Your Database Export is Ready" + (" (Attached)" if attach else "")


def _lead(outcome: SentFile | Failure, *, attach: bool) -> list[str]:
    """The paragraphs above the facts."""
    if isinstance(outcome, Failure):
        return ["Your database export failed. No file was stored, not even a partial one.", one_line(outcome.message)]
    if attach:
        also = " You can also download it with the link below." if outcome.link is not None else ""
        lead = ["Your database export is ready. The file is attached." + also]
    elif outcome.link is not None:
        lead = ["Your database export is ready. Open the link below to download the file."]
    else:
        lead = ["Your database export is ready. Request the file from the service with the job id below."]
    if outcome.chunks is not None and not attach:
        lead.append("The file is not attached: it is too large, or the mail server does not accept it.")
    if outcome.link is not None and outcome.link_expires_at is not None:
        lead.append(f"The link works until {_timestamp(outcome.link_expires_at)}.")
    return lead


def _facts(mail: Mail) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    match mail.outcome:
        case SentFile() as file:
            facts += [
                ("File", file_name(file.name)),
                ("Rows", f"{file.rows:,}"),
                ("Size", _size_words(file.size_bytes)),
                ("SHA-256", file.sha256),
            ]
        case Failure(code=code):
            facts.append(("Error code", one_line(code)))
    facts += [("Job id", one_line(mail.export_id)), ("Submitted", _timestamp(mail.submitted_at))]
    if mail.started_at is not None:
        wait = duration_words(mail.started_at - mail.submitted_at)
        facts.append(("Started", f"{_timestamp(mail.started_at)} (wait: {wait})"))
    facts += [
        ("Finished", _timestamp(mail.finished_at)),
        ("Total duration", duration_words(mail.finished_at - mail.submitted_at)),
    ]
    if mail.query_s is not None:
        facts.append(("Query time", duration_words(mail.query_s)))
    if isinstance(mail.outcome, SentFile):
        facts += [("Note", one_line(sentence)) for sentence in mail.outcome.warnings[:_WARNINGS_MAX]]
        if (more := len(mail.outcome.warnings) - _WARNINGS_MAX) > 0:
            facts.append(("Note", f"and {more:,} more; see the warnings of the job"))
    return facts


def _plain(lead: list[str], link: str | None, facts: list[tuple[str, str]]) -> str:
    width = max(len(label) for label, _ in facts) + 1
    table = [f"{label + ':':<{width}} {value}" for label, value in facts]
    return "\n\n".join([*lead, *([link] if link else []), "\n".join(table)]) + "\n"


def _html(lead: list[str], link: str | None, facts: list[tuple[str, str]]) -> str:
    paragraphs = [f"<p>{escape(text)}</p>" for text in lead]
    if link:
        paragraphs.append(f'<p><a href="{escape(link)}">{escape(link)}</a></p>')
    rows = [
        f'<tr><th scope="row" align="left" valign="top" style="padding-right:1em">{escape(label)}</th>'
        f"<td>{escape(value)}</td></tr>"
        for label, value in facts
    ]
    body = "\n".join([*paragraphs, "<table>", *rows, "</table>"])
    return f'<!DOCTYPE html>\n<html lang="en"><body style="font-family:sans-serif">\n{body}\n</body></html>\n'


def _empty_part(file: SentFile, rules: policy.EmailPolicy[EmailMessage]) -> EmailMessage:
    part = EmailMessage(rules)
    part["Content-Type"] = file.media_type
    part["Content-Transfer-Encoding"] = "base64"
    part.add_header("Content-Disposition", "attachment", filename=file_name(file.name))
    part.set_payload("")
    return part


def _encoded(file: SentFile) -> Iterator[bytes]:
    """The file as base64 lines, some at a time; raises Broken at the end if its size or SHA-256 differs."""
    if file.chunks is None:
        raise Broken("This letter has no file to attach.")
    digest, size, rest = hashlib.sha256(), 0, b""
    try:
        with closing(file.chunks()) as chunks:
            for chunk in chunks:
                digest.update(chunk)
                data = rest + bytes(chunk)
                size += len(data) - len(rest)
                whole = len(data) - len(data) % _LINE_BYTES
                rest = data[whole:]
                if size > file.size_bytes:
                    break
                yield _lines(data[:whole])
    except OSError as error:
        raise Unavailable("The stored file cannot be read now, so it was not mailed.", code="file_unread") from error
    if size != file.size_bytes or digest.hexdigest() != file.sha256:
        raise Broken("The stored file has changed since it was written, so it was not mailed.", code="file_changed")
    yield _lines(rest)


def _lines(data: bytes) -> bytes:
    view = memoryview(data)
    lines = [binascii.b2a_base64(view[at : at + _LINE_BYTES], newline=False) for at in range(0, len(view), _LINE_BYTES)]
    return b"\r\n".join([*lines, b""])


def file_name(name: str) -> str:
    """A safe file name: without folders and invisible characters."""
    return one_line(name).replace("/", "_").replace("\\", "_")


def _timestamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _size_words(size_bytes: int) -> str:
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= length:
            return f"{size_bytes / length:.1f} {unit} ({size_bytes:,} bytes)"
    return f"{size_bytes:,} byte{'s' if size_bytes != 1 else ''}"

"""Mail over SMTP, with the standard library's synchronous client: each notification has its own thread.

A temporary reply (4xx), no reply or no connection is Unavailable; a permanent one (5xx, a wrong password, an invalid
certificate) is Refused. If the connection is lost just before the final reply, it is unknown whether the mail was
accepted: it is sent again with the same Message-ID.
"""

from __future__ import annotations

import logging
import re
import smtplib
import socket
import ssl
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Literal

from fluxport.delivery.letter import Letter, Mail, SentFile, compose
from fluxport.delivery.recipients import check_recipient, masked
from fluxport.errors import Refused, Unavailable
from fluxport.outbound import tls_context

__all__ = ["EmailOptions", "Mail", "SentFile", "check_recipient", "send_email", "try_server"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmailOptions:
    """The mail server; without a ``host``, mails are only logged.

    ``security``: ``tls`` encrypts from the first byte, ``starttls`` requires STARTTLS, ``none`` encrypts nothing;
    ``auto`` is ``tls`` on port 465, else STARTTLS if the server offers it, and never sends a password unencrypted.
    ``attachment_max_bytes`` limits the attached file; a mail of a larger one has a link instead. ``timeout_s`` is for
    each reply of the server.
    """

    host: str = ""
    port: int = 0  # 0: the protocol's
    user: str = ""
    password: str = field(default="", repr=False)
    sender: str = ""  # exports@example.com, or with a name: Exports <exports@example.com>
    security: Literal["auto", "starttls", "tls", "none"] = field(kw_only=True)
    attachment_max_bytes: int = field(kw_only=True)
    timeout_s: float = 30.0
    ca_file: str | None = None  # authorities to trust besides the system's
    helo_name: str | None = None  # the name in the greeting; default: the host name

    def __post_init__(self) -> None:
        if not (self.user + self.password).isascii():
            raise Refused("The mail server's user and password must be ASCII: SMTP logins carry nothing else safely.")
        if self.host:
            _sender(self.sender or self.user)


def send_email(
    options: EmailOptions, mail: Mail, *, domains: Collection[str] | None = None
) -> Literal["sent", "logged"]:
    """Send ``mail`` once; without a mail server it is only logged. ``domains`` are the allowed recipient domains (None:
    any), as in ``check_recipient``.

    The file is attached if it is within the limit and the server accepts the mail, else a link is sent.
    """
    recipient = check_recipient(mail.recipient, domains)
    if not options.host:
        _log.info("no mail server is configured: the mail to %s is only logged", masked(recipient), extra=_about(mail))
        return "logged"
    sender = _sender(options.sender or options.user)
    for letter in _letters(options, mail, sender, recipient):
        # A connection for each letter: a server may close the one on which it refused a letter.
        with _translated(options.host), closing(_connect(options)) as smtp:
            _check_international(smtp, recipient)
            if _fits(smtp, letter) and _accepted(smtp, sender.addr_spec, recipient, letter):
                with suppress(smtplib.SMTPException, OSError):
                    smtp.quit()  # the mail has been accepted, whatever happens now
                break
    return "sent"


def try_server(options: EmailOptions) -> None:
    """Connect, encrypt and log in as for a mail, then disconnect; raises as :func:`send_email`."""
    with _translated(options.host), closing(_connect(options)) as smtp:
        smtp.quit()


def _letters(options: EmailOptions, mail: Mail, sender: Address, recipient: str) -> Iterator[Letter]:
    """The letters to try, the best first."""
    file = mail.outcome
    if isinstance(file, SentFile) and file.chunks is not None and file.size_bytes <= options.attachment_max_bytes:
        yield compose(mail, sender, recipient, attach=True)
    yield compose(mail, sender, recipient, attach=False)


def _fits(smtp: smtplib.SMTP, letter: Letter) -> bool:
    """Whether the server accepts a mail of this size (RFC 1870; 0 or none is no limit); without a file, always."""
    limit = smtp.esmtp_features.get("size", "")
    return letter.file is None or not limit.isdigit() or int(limit) == 0 or letter.size_bytes <= int(limit)


def _accepted(smtp: smtplib.SMTP, sender: str, recipient: str, letter: Letter) -> bool:
    """Send one letter; False if the server refuses it for good, perhaps for its file."""
    options = [f"SIZE={letter.size_bytes}"] if smtp.has_extn("size") else []
    if not recipient.isascii():
        options += ["SMTPUTF8", "BODY=8BITMIME"]
    try:
        _expect(smtp.mail(sender, options), 250)
        _expect_recipient(smtp.rcpt(recipient))
        _expect(smtp.docmd("DATA"), 354)
        # From here to the final dot an error must close the connection, or the server would accept a truncated mail.
        if not _sent(smtp, letter):
            return False
        smtp.send(b".\r\n")
        _expect(smtp.getreply(), 250)
    except smtplib.SMTPResponseException as error:
        if letter.file is None or not 500 <= error.smtp_code <= 599:
            raise
        return False
    return True


def _sent(smtp: smtplib.SMTP, letter: Letter) -> bool:
    """Send the letter without its end; False if the server hangs up within a letter with a file, as some do for one
    that is too large."""
    for chunk in letter.chunks():
        try:
            smtp.send(re.sub(rb"(?m)^\.", b"..", chunk))
        except smtplib.SMTPServerDisconnected:
            if letter.file is None:
                raise
            return False
    return True


def _expect(reply: tuple[int, bytes], *codes: int) -> None:
    if reply[0] not in codes:
        raise smtplib.SMTPResponseException(*reply)


def _expect_recipient(reply: tuple[int, bytes]) -> None:
    code, text = reply
    if 500 <= code <= 599 and code != 552:  # the mail is too large for this recipient
        raise Refused(
            f"The mail server does not deliver to this recipient (reply {code}): check the address.",
            code="bad_recipient",
            detail=text.decode("utf-8", "replace"),
        )
    _expect(reply, 250, 251)


def _connect(options: EmailOptions) -> smtplib.SMTP:
    """A connection, encrypted and logged in according to the options."""
    helo = options.helo_name or _own_name()
    if options.security == "tls" or (options.security == "auto" and options.port == 465):
        context = tls_context(options.ca_file, system=True, protocol="smtp")
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(
            options.host, options.port, helo, timeout=options.timeout_s, context=context
        )
        encrypted = True
    else:
        smtp = smtplib.SMTP(options.host, options.port, helo, timeout=options.timeout_s)
        encrypted = False
    try:
        smtp.ehlo_or_helo_if_needed()
        if not encrypted and options.security != "none":
            encrypted = _start_tls(smtp, options)
        if options.user:
            if not encrypted and options.security != "none":
                raise _no_tls(options.host)
            smtp.login(options.user, options.password)
        smtp.ehlo_or_helo_if_needed()
    except BaseException:
        smtp.close()
        raise
    return smtp


def _start_tls(smtp: smtplib.SMTP, options: EmailOptions) -> bool:
    if not smtp.has_extn("starttls"):
        if options.security == "starttls":
            raise _no_tls(options.host)
        return False
    _expect(smtp.starttls(context=tls_context(options.ca_file, system=True, protocol="smtp")), 220)
    return True


def _no_tls(host: str) -> Refused:
    return Refused(
        f"The mail server {host} offers no encryption (STARTTLS): use its TLS port, or set the security to none if the "
        "network in between may be trusted.",
        code="mail_tls",
    )


def _check_international(smtp: smtplib.SMTP, recipient: str) -> None:
    if not recipient.isascii() and not smtp.has_extn("smtputf8"):
        raise Refused(
            "The mail server does not accept non-ASCII addresses (SMTPUTF8): use another address of the recipient.",
            code="bad_recipient",
        )


@contextmanager
def _translated(host: str) -> Iterator[None]:
    """Translate errors of SMTP and the network; the server's text goes to ``detail``, as it may contain an address."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        words = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        if isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code >= 500:
            raise Refused(
                f"The mail server {host} refused the login (reply {error.smtp_code}): check user and password.",
                code="mail_auth",
                detail=words,
            ) from error
        if 500 <= error.smtp_code <= 599:
            raise Refused(
                f"The mail server {host} refused the mail (reply {error.smtp_code}).",
                code="mail_refused",
                detail=words,
            ) from error
        raise Unavailable(
            f"The mail server {host} does not accept the mail now (reply {error.smtp_code}).",
            code="mail_unavailable",
            detail=words,
        ) from error
    except smtplib.SMTPNotSupportedError as error:
        raise Refused(
            f"The mail server {host} does not support login: leave the user empty, or use its submission port.",
            code="mail_auth",
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise Refused(
            f"The certificate of the mail server {host} is not trusted ({error.verify_message}): check the host "
            "name, or set ca_file to the authority's certificate.",
            code="mail_tls",
        ) from error
    except (smtplib.SMTPException, OSError) as error:
        raise Unavailable(
            f"The mail server {host} cannot be reached or closed the connection: {type(error).__name__}.",
            code="mail_unavailable",
            detail=str(error),
        ) from error


def _sender(text: str) -> Address:
    display_name, address = parseaddr(text) if text.isprintable() else ("", "")
    try:
        checked = check_recipient(address)
        if not checked.isascii():
            raise Refused("The sender's name before the @ must be ASCII.", code="bad_sender")
        return Address(display_name=display_name, addr_spec=checked)
    except Refused as error:
        raise Refused(
            "The sender of mails must be an address such as exports@example.com or 'Exports <exports@example.com>'.",
            code="bad_sender",
        ) from error


def _own_name() -> str:
    """The name in the greeting; the library's default queries the DNS, which may be slow."""
    name = socket.gethostname()
    return name if "." in name else "[127.0.0.1]"


def _about(mail: Mail) -> dict[str, str]:
    return {"task_id": mail.export_id}

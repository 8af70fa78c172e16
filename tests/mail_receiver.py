"""A real SMTP server that stores mails, and replies as a test configures it."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

CLOSE = "close"  # an answer that is the end of the connection

USER, PASSWORD = "exports", "a-pass-word"


@dataclass(frozen=True)
class Taken:
    sender: str
    recipients: list[str]
    content: bytes
    options: list[str]  # of MAIL FROM
    encrypted: bool
    authenticated: bool

    def message(self) -> EmailMessage:
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        assert not any(part.defects for part in parsed.walk())
        return parsed


@dataclass
class MailServer:
    """``answers`` maps MAIL, RCPT, DATA and QUIT to the replies that replace acceptance, in turn."""

    answers: dict[str, list[str]]
    port: int = 0
    mails: list[Taken] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)  # what was tried as a user

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answer := self._answer("MAIL", server):
            return answer
        envelope.mail_from, envelope.mail_options = address, list(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answer := self._answer("RCPT", server):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if answer := self._answer("DATA", server):
            return answer
        assert isinstance(envelope.original_content, bytes)
        self.mails.append(
            Taken(
                envelope.mail_from or "",
                envelope.rcpt_tos,
                envelope.original_content,
                envelope.mail_options,
                session.ssl is not None,
                session.authenticated or False,
            )
        )
        return "250 taken"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return self._answer("QUIT", server) or "221 Bye"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()), handled=False)

    def _answer(self, command: str, server: SMTP) -> str | None:
        self.commands.append(command)
        left = self.answers.get(command)
        answer = left.pop(0) if left else None
        if answer == CLOSE:
            assert server.transport is not None
            server.transport.close()
        return answer


@contextmanager
def mail_server(answers: Mapping[str, list[str]] | None = None, /, **settings: Any) -> Iterator[MailServer]:
    """A server on 127.0.0.1; ``settings`` are those of aiosmtpd's Controller and SMTP, ``login=True`` requires one."""
    server = MailServer({command: list(texts) for command, texts in (answers or {}).items()})
    if settings.pop("login", False):
        settings |= {"authenticator": server.authenticate, "auth_required": True}
    with socket.create_server(("127.0.0.1", 0)) as free:
        server.port = free.getsockname()[1]
    controller = Controller(server, hostname="127.0.0.1", port=server.port, **settings)
    with warnings.catch_warnings():
        # The server advises against logins without TLS, which is what one of the tests is about.
        warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS")
        controller.start()
        try:
            yield server
        finally:
            controller.stop()

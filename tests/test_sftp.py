"""SFTP servers that are other than expected; what every sink does is in tests/contract/."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from fluxport.errors import Broken, FluxportError, Refused, Unavailable
from fluxport.sinks.sftp import SftpSink
from sftp_server import Sftp
from store_support import sftp_options


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """The port of a server that sends ``answer`` to each client and closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def failure(sink: SftpSink) -> FluxportError:
    with pytest.raises(FluxportError) as caught:
        sink.put("file.csv", (chunk for chunk in [b"x"]))
    return caught.value


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-a\r\n"])
def test_a_connection_that_ends_before_the_login_is_retryable(sftp: Sftp, answer: bytes) -> None:
    with answering(answer) as port:
        error = failure(SftpSink(sftp_options(replace(sftp, port=port))))
    assert (type(error), error.code) == (Unavailable, "store_unreachable")


@pytest.mark.parametrize("known", ["no", "another"])
def test_a_server_whose_key_is_not_the_known_one_is_refused(sftp: Sftp, tmp_path: Path, known: str) -> None:
    hosts = tmp_path / "known_hosts"
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    hosts.write_text("" if known == "no" else f"[{sftp.host}]:{sftp.port} {other}")
    error = failure(SftpSink(sftp_options(replace(sftp, known_hosts=hosts))))
    assert (type(error), error.code) == (Refused, "unknown_host")


def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error(sftp: Sftp) -> None:
    (sftp.folder / "shorter").mkdir()
    sink = SftpSink(sftp_options(sftp, "shorter"))
    size = 8 << 20
    receipt = sink.put("file.bin", (chunk for chunk in [bytes(size)]))
    chunks = sink.open(receipt.location)
    first = len(next(chunks))
    (sftp.folder / "shorter/file.bin").write_bytes(bytes(first))
    with pytest.raises(Broken) as caught:
        b"".join(chunks)
    assert caught.value.code == "store_differs"

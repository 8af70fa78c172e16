"""A private MariaDB server: TLS, accounts of every kind, global settings, packets of any size."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mysql_support import wait_until
from services import require_program


@dataclass(frozen=True)
class PrivateServer:
    url: str
    socket: Path
    ca: Path
    certificates: Path


@contextmanager
def private_mariadb() -> Iterator[PrivateServer]:
    """A fresh server on a free port and a socket, with a certificate for 127.0.0.1; skipped where none is installed."""
    server, install = require_program("mariadbd", "mysqld"), require_program("mariadb-install-db")
    home = Path(tempfile.mkdtemp(prefix="fluxport-mariadb-"))
    try:
        make_certificates(home)
        data = home / "data"
        common = [f"--datadir={data}", "--user=root"]
        subprocess.run(
            [install, "--no-defaults", *common, "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True,
            capture_output=True,
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [
                server, "--no-defaults", *common, f"--port={port}", "--bind-address=127.0.0.1",
                f"--socket={home / 's'}", f"--pid-file={home / 'pid'}", f"--ssl-ca={home / 'ca.pem'}",
                f"--ssl-cert={home / 'server.pem'}", f"--ssl-key={home / 'server.key'}", "--skip-log-bin",
                "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=16M", "--max-allowed-packet=1G",
                "--plugin-load-add=auth_ed25519", "--plugin-maturity=unknown", "--skip-name-resolve",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert wait_until(lambda: answers(port), 30), "the private MariaDB did not start"
            yield PrivateServer(f"mysql://root@127.0.0.1:{port}/", home / "s", home / "ca.pem", home)
        finally:
            process.terminate()
            process.wait(30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def answers(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def make_certificates(home: Path) -> None:
    """``ca.pem`` and what it signed: ``server.pem`` for 127.0.0.1, ``client.pem``; ``other.pem`` signed neither."""
    now = datetime.now(UTC)

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def made(
        name: str, issuer: x509.Name | None, issuer_key: ec.EllipticCurvePrivateKey | None
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        signer = issuer_key or key
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(issuer or named(name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if issuer is not None:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(signer, hashes.SHA256()), key

    ca, ca_key = made("Fluxport test CA", None, None)
    other, _ = made("Another CA", None, None)
    (home / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (home / "other.pem").write_bytes(other.public_bytes(serialization.Encoding.PEM))
    for name in ("server", "client"):
        certificate, key = made(name, ca.subject, ca_key)
        (home / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (home / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )

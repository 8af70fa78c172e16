"""The server around the service: TLS, limits, keepalive, health, reflection."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from fluxport.errors import Refused
from fluxport.grpc import export_pb2 as pb
from fluxport.grpc.historian import NAME as HISTORIAN
from fluxport.grpc.historian import HistorianQuery
from fluxport.grpc.sensors import NAME as SENSORS
from fluxport.grpc.sensors import SensorService
from fluxport.grpc.service import NAME, ExportService

STREAMS_PER_CONNECTION = 256
CALLS_BESIDE_TASKS = 100


@dataclass(frozen=True)
class ServerOptions:
    """Without ``credentials`` there is no TLS. ``more`` are further hosts and ports of the same server."""

    host: str
    port: int
    more: tuple[tuple[str, int], ...]
    message_max_bytes: int
    credentials: grpc.ServerCredentials | None
    reflection: bool


class GrpcServer:
    """Create, start and stop it in one event loop. ``port`` is the bound port."""

    def __init__(
        self,
        service: ExportService,
        sensors: SensorService,
        historian: HistorianQuery,
        options: ServerOptions,
        *,
        calls_max: int,
    ) -> None:
        self._health = health.aio.HealthServicer()
        # Compressed messages are refused: a few bytes can expand to gigabytes.
        settings = [
            ("grpc.max_receive_message_length", options.message_max_bytes),
            ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
            ("grpc.compression_enabled_algorithms_bitset", 1),
            ("grpc.so_reuseport", 0),
            # Fixed window sizes: adaptive ones grow to megabytes per call, mostly unused.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ]
        self._server = grpc.aio.server(
            handlers=[service.handlers(), sensors.handlers(), historian.handlers()],
            options=settings,
            maximum_concurrent_rpcs=calls_max + CALLS_BESIDE_TASKS,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (NAME, SENSORS, HISTORIAN, health.SERVICE_NAME, reflection.SERVICE_NAME)
        assert pb.DESCRIPTOR.services_by_name["ExportService"].full_name == NAME
        if options.reflection:
            reflection.enable_server_reflection(names, self._server)
        self.port = _listening(self._server, options.host, options.port, options.credentials)
        for host, port in options.more:
            _listening(self._server, host, port, options.credentials)

    async def start(self) -> None:
        await self._server.start()
        for name in ("", NAME, SENSORS, HISTORIAN):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Report NOT_SERVING to health checks: no new push is accepted."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float) -> None:
        await self._server.stop(grace_s)


def _listening(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None) -> int:
    """The bound port."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if credentials is not None:
            bound = server.add_secure_port(address, credentials)
        else:
            bound = server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise Refused(
            f"Cannot listen on {address} for gRPC; set another grpc.port, or grpc.enabled: false.",
            code="address_in_use",
        )
    return bound


def tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> grpc.ServerCredentials | None:
    """The credentials for TLS; None if no file is named. With ``client_ca``, clients must present certificates."""
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise Refused("TLS of gRPC needs both grpc.tls_certificate and grpc.tls_key.", code="bad_configuration")
    try:
        pair = (key.read_bytes(), certificate.read_bytes())
        ca = None if client_ca is None else client_ca.read_bytes()
        # gRPC itself would only log a problem with the files, and only while the service starts.
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=None if client_ca is None else client_ca)
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError:
        raise Refused(
            "The TLS files of gRPC are not valid: grpc.tls_certificate, its key grpc.tls_key and grpc.client_ca must "
            "be PEM, and the key must belong to the certificate and have no password.",
            code="bad_configuration",
        ) from None
    except OSError as error:
        settings = {str(certificate): "tls_certificate", str(key): "tls_key", str(client_ca): "client_ca"}
        raise Refused(
            f"The file of grpc.{settings.get(str(error.filename), 'client_ca')} cannot be read: {error.strerror}.",
            code="bad_configuration",
        ) from None
    return grpc.ssl_server_credentials([pair], root_certificates=ca, require_client_auth=ca is not None)


def _no_password() -> str:
    """A key with a password is refused: a service cannot prompt for it."""
    return ""

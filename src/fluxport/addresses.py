"""Addresses and trust of the service: ports, base URLs, links and their secrets, signing keys, trusted proxies, and who
may see which details."""

from __future__ import annotations

import hmac
import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

from fluxport.config import DEVELOPMENT_SECRET, Config, listen_address

if TYPE_CHECKING:
    from fluxport.auth.proxies import Proxies
    from fluxport.auth.signing import SigningKey
    from fluxport.jobs.links import Links
    from fluxport.jobs.store import JobStore, Record
    from fluxport.stages import Sink


GRPC_PORT = 9090


def file_url(links: Links, clock: Callable[[], float], base: str) -> Callable[[Record], str]:
    """A function that returns the link to a record's file, valid until the file expires, or an empty string if there is
    no file; ``base`` is that of :func:`base_url`."""

    def url(record: Record) -> str:
        link = links.make(record, base, clock(), lasting=True)
        return link["url"] if link else ""

    return url


def grpc_port(config: Config) -> int:
    if config.grpc.port is not None:
        return config.grpc.port
    return GRPC_PORT if config.server.port else 0


def more_grpc_addresses(config: Config) -> list[tuple[str, int]]:
    """The hosts and ports of the gRPC server beside its first one."""
    return [listen_address(text) for text in config.grpc.addresses]


def base_url(config: Config, port: int) -> str:
    """The URL of the HTTP server for clients, derived from host and port; ``server.public_url`` overrides it."""
    host = config.server.host
    if host in ("0.0.0.0", "::"):  # noqa: S104  compared, not listened on: links cannot start with it
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def links_of(config: Config, sinks: Mapping[str, Sink], store: JobStore) -> Links:
    from fluxport.jobs.links import Links, Signed

    signed = {
        name: Signed(sinks[name], entry.link_s) for name, entry in config.stores.items() if entry.links == "store"
    }
    return Links(_download_secret(config, store), config.auth.link_s, config.server.public_url, signed)


def _download_secret(config: Config, store: JobStore) -> bytes:
    """The secret that signs links: as configured, else derived from a configured key, else that of the database. So
    links issued by workers, and before a restart, are valid in every process, whatever address it listens on."""
    if config.auth.download_secret is not None:
        return config.auth.download_secret.get_secret_value().encode()
    keys = _configured_keys(config)
    if not keys:
        return store.download_secret()
    key = keys[min(keys)].secrets[0].encode()
    return hmac.new(key, b"fluxport download links", "sha256").digest()


def signing_keys(config: Config) -> dict[str, SigningKey]:
    """The configured keys; without any, in development, one with a public secret, unless other machines can connect."""
    from fluxport.auth.signing import DEFAULT_KEY_ID, SigningKey

    keys = _configured_keys(config)
    if not keys and config.app_env == "development" and _only_here(config.server.host):
        keys[DEFAULT_KEY_ID] = SigningKey(DEFAULT_KEY_ID, (DEVELOPMENT_SECRET,))
    return keys


def _configured_keys(config: Config) -> dict[str, SigningKey]:
    from fluxport.auth.scopes import EVERYTHING
    from fluxport.auth.signing import DEFAULT_KEY_ID, SigningKey

    keys = {
        name: SigningKey(
            name,
            tuple(s.get_secret_value() for s in key.secrets),
            key.user,
            EVERYTHING if key.scopes is None else frozenset(key.scopes),
            own_results=key.own_results,
            mail_domains=None if key.mail_domains is None else tuple(key.mail_domains),
        )
        for name, key in config.auth.keys.items()
    }
    if config.auth.api_secret is not None:
        keys[DEFAULT_KEY_ID] = SigningKey(DEFAULT_KEY_ID, (config.auth.api_secret.get_secret_value(),))
    return keys


def _only_here(host: str) -> bool:
    """Whether only this machine can connect to a server that listens on ``host``."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def details_for(config: Config) -> Literal["local", "on", "off"]:
    """Who may see details of the service."""
    if config.server.details != "auto":
        return config.server.details
    return "local" if config.app_env == "production" else "on"


def sensors_open_to(config: Config) -> Literal["local", "on", "off"]:
    """Who may read sensors without a key; ``local`` applies in development only."""
    setting = config.series.open
    return "off" if setting == "local" and config.app_env == "production" else setting


def proxies(config: Config) -> Proxies:
    """The proxies whose forwarding headers the service trusts."""
    from fluxport.auth.proxies import Proxies, networks

    return Proxies(networks(config.server.trusted_proxies), config.server.proxy_header)

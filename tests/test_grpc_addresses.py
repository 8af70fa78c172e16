"""Further addresses of the gRPC server."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fluxport.config import Config, listen_address, load
from fluxport.errors import Refused
from fluxport.process import check_pushes


def configured(folder: Path, address: str) -> Config:
    return load(environ={}, folder=folder, flags={"grpc.port": 0, "grpc.addresses": [address]})


def test_an_address_is_a_host_and_a_port() -> None:
    assert listen_address("0.0.0.0:50051") == ("0.0.0.0", 50051)
    assert listen_address("[::]:50051") == ("::", 50051)
    assert listen_address("localhost:1") == ("localhost", 1)


@pytest.mark.parametrize("text", ["50051", ":50051", "[]:1", "::1:50051", "localhost", "localhost:0", "a:65536", "a:x"])
def test_what_is_no_address_is_an_error_of_the_configuration(tmp_path: Path, text: str) -> None:
    with pytest.raises(Refused, match=r"grpc\.addresses") as refused:
        configured(tmp_path, text)
    assert refused.value.code == "bad_configuration"


def test_an_address_of_another_program_is_named_before_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Refused, match=rf"127\.0\.0\.1:{port} for gRPC.*grpc\.addresses") as refused:
            check_pushes(configured(tmp_path, f"127.0.0.1:{port}"), "")
    assert refused.value.code == "address_in_use"

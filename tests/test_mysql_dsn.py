"""Data source names of MySQL: both forms, every option, and refusals that never repeat a password."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxport.errors import Refused
from fluxport.sources import open_source, scheme_of
from fluxport.sources.mysql.dsn import Dsn, parse_dsn

READ: list[tuple[str, dict[str, Any]]] = [
    ("mysql://u:p@db.example:3307/shop", {"host": "db.example", "port": 3307, "database": "shop"}),
    ("mysql://u:p@db.example", {"user": "u", "password": "p", "port": 3306, "database": ""}),
    ("mysql://u:p%40%2F%23%3A@h/d", {"password": "p@/#:", "host": "h"}),
    ("mysql://u@[::1]:3306/d", {"host": "::1"}),
    ("mysql://u@/d?socket=/run/mysqld.sock", {"socket": "/run/mysqld.sock"}),
    ("mysql://u@%2Frun%2Fmysqld.sock/d", {"socket": "/run/mysqld.sock"}),
    ("mariadb://u@h/d?ssl-mode=verify-identity&ssl-ca=/ca.pem", {"tls": "verify-identity", "tls_ca": "/ca.pem"}),
    ("mysql://u@h/d?ssl_mode=REQUIRED&ssl_cert=c&ssl_key=k", {"tls": "required", "tls_cert": "c", "tls_key": "k"}),
    ("mysql://u@h/d?ssl-ca=/ca.pem", {"tls": "verify-ca"}),
    ("mysql://u@h/d?ssl-mode=disabled&ssl-ca=/ca.pem", {"tls": "disabled"}),
    ("mysql://u@h/d?connect-timeout=500ms&read-timeout=1m30s", {"connect_timeout_s": 0.5, "read_timeout_s": 90.0}),
    ("mysql://u@h/d?connect_timeout=7&tinyint1=bool&charset=utf8", {"connect_timeout_s": 7.0, "tinyint1_bool": True}),
    ("mysql://u@h/d?prepared=false", {"prepared": False}),
    ("u:p@tcp(h:3307)/d?parseTime=true&loc=Local&collation=utf8mb4_bin", {"host": "h", "port": 3307, "database": "d"}),
    ("u:p@ss/w?o:rd)(@tcp(h)/d", {"user": "u", "password": "p@ss/w?o:rd)(", "host": "h", "port": 3306}),
    ("u@tcp([2001:db8::1]:3306)/", {"host": "2001:db8::1", "database": "", "password": ""}),
    ("u:p@unix(/tmp/my sql.sock)/d?tls=false", {"socket": "/tmp/my sql.sock", "tls": "disabled"}),
    ("u@tcp(h)/d?tls=true", {"tls": "verify-identity"}),
    ("u@tcp(h)/d?tls=1", {"tls": "verify-identity"}),
    ("u@tcp(h)/d?tls=0", {"tls": "disabled"}),
    ("u@tcp(h)/d?tls=skip-verify", {"tls": "required"}),
    ("u@tcp(h)/d?timeout=3s&readTimeout=4s", {"connect_timeout_s": 3.0, "read_timeout_s": 4.0}),
    ("u:p@/d", {"host": "127.0.0.1", "database": "d"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), READ, ids=[text for text, _ in READ])
def test_reads(text: str, expected: dict[str, Any]) -> None:
    found = parse_dsn(text)
    assert {name: getattr(found, name) for name in expected} == expected


def test_options_in_the_url_win_over_those_of_the_connection() -> None:
    defaults = Dsn(tinyint1_bool=True, read_timeout_s=5)
    assert parse_dsn("mysql://u@h/d?tinyint1=int", defaults) == Dsn(host="h", user="u", database="d", read_timeout_s=5)


WRONG = [
    ("mysql://u:hunter2/x@h/d", "percent-encoded"),
    ("mysql://u:hunter2#x@h/d", "percent-encoded"),
    ("mysql://u:x@h/d#hunter2", "%23"),
    ("mysql://u:7/hunter2@h/d", "'/' or '@'"),
    ("mysql://u:hunter2@h:99999/d", "percent-encoded"),
    ("mysql://u:hunter2@h/d?sslmode=required", "did you mean 'ssl-mode'"),
    ("mysql://u:hunter2@h/d?zzzz=1", "choose from: ssl-mode"),
    ("mysql://u:hunter2@h/d?ssl-mode=maybe", "disabled, preferred"),
    ("mysql://u:hunter2@h/d?connect-timeout=soon", "takes a time"),
    ("mysql://u:hunter2@h/d?connect-timeout=0", "takes a time"),
    ("mysql://u:hunter2@h/d?tls", "name=value"),
    ("mysql://u:hunter2@h/d\n", "control character"),
    ("u:hunter2@tcp(h:port)/d", "host:port"),
    ("u:hunter2@h", "no scheme"),
    ("oracle://u:hunter2@h/d", "'oracle' is not known"),
    ("hunter2 u://h", "no scheme"),
    ("", "no scheme"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[text for text, _ in WRONG])
def test_refuses_in_one_sentence_without_the_password(text: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        open_source(text, "SELECT 1")
    assert caught.value.code == "bad_dsn"
    assert caught.value.exit_code == 2
    assert said in caught.value.message
    assert "hunter2" not in caught.value.message


def test_repr_hides_the_password() -> None:
    assert "hunter2" not in repr(parse_dsn("mysql://u:hunter2@h/d"))


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for given_text in (text, "mysql://" + text, f"u:{text}@tcp(h:1)/d"):
        with contextlib.suppress(Refused):
            parse_dsn(given_text)


@given(password=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
def test_every_password_fits_the_form_of_go(password: str) -> None:
    """The last '@' before the address ends the password, whatever stands in it."""
    text = f"u:{password}@tcp(h:1)/d"
    assert parse_dsn(text).password == password
    assert scheme_of(text) == "mysql"

"""What an account may do beyond reading, as real servers report it; production does not start with excess
privileges."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fluxport.config import load
from fluxport.errors import Refused
from fluxport.process import check_accounts
from fluxport.sources.accounts import inspect_account
from fluxport.sources.mysql.account import excess_privileges
from mysql_support import scratch_database
from postgres_support import scratch_postgres


@contextmanager
def mariadb_account(grants: str) -> Iterator[str]:
    name = f"fluxport_{secrets.token_hex(4)}"
    with scratch_database() as database:
        database.run("CREATE TABLE t (a INT)")
        database.run(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'secret'")
        try:
            database.run(f"GRANT {grants} ON {database.name}.* TO '{name}'@'%'")
            host = database.url.rsplit("@", 1)[1]
            yield f"mysql://{name}:secret@{host}"
        finally:
            database.run(f"DROP USER '{name}'@'%'")


@contextmanager
def postgres_account(grants: str) -> Iterator[str]:
    name = f"fluxport_{secrets.token_hex(4)}"
    with scratch_postgres() as database:
        database.run("CREATE TABLE t (a INT)")
        database.run(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        try:
            database.run(f"GRANT {grants} ON t TO {name}")
            host = database.url.rsplit("@", 1)[1]
            yield f"postgresql://{name}:secret@{host}"
        finally:
            database.run(f"DROP OWNED BY {name}")
            database.run(f"DROP ROLE {name}")


KINDS = {"mariadb": mariadb_account, "postgresql": postgres_account}


@pytest.mark.parametrize("kind", KINDS)
def test_an_account_that_can_only_read_has_nothing_in_excess(kind: str) -> None:
    with KINDS[kind]("SELECT") as url:
        account = inspect_account(url)
    assert account.excess == ()
    assert account.sentence == "it can only read."


@pytest.mark.parametrize("kind", KINDS)
def test_an_account_that_can_write_is_reported_and_refused_in_production(kind: str, tmp_path: Path) -> None:
    flags = {"auth.api_secret": "kX3vQ9w-72LmTzR0aYbN8uJdPf5hGsEc1oViWq6ClZk", "stores.local.path": tmp_path}
    with KINDS[kind]("SELECT, INSERT, DELETE") as url:
        assert inspect_account(url).excess == ("DELETE", "INSERT")
        given = flags | {"connections.main.url": url}
        check_accounts(load(environ={}, folder=tmp_path, flags=given))
        with pytest.raises(Refused, match="DELETE, INSERT"):
            check_accounts(load(environ={"APP_ENV": "production"}, folder=tmp_path, flags=given))
    # A database that is away now may recover: `fluxport check` reports its account then.
    check_accounts(load(environ={"APP_ENV": "production"}, folder=tmp_path, flags=given))


@pytest.mark.parametrize("default", [False, True])
def test_a_role_that_can_be_set_counts_though_it_is_not_the_default(default: bool) -> None:
    role = f"fluxport_{secrets.token_hex(4)}"
    with scratch_database() as database, mariadb_account("SELECT") as url:
        name = url.removeprefix("mysql://").partition(":")[0]
        database.run(f"CREATE ROLE {role}")
        try:
            database.run(f"GRANT INSERT ON {database.name}.* TO {role}")
            database.run(f"GRANT {role} TO '{name}'@'%'")
            if default:
                database.run(f"SET DEFAULT ROLE {role} FOR '{name}'@'%'")
            excess = inspect_account(url).excess
        finally:
            database.run(f"DROP ROLE {role}")
    assert ("INSERT" in excess) if default else (f"SET ROLE `{role}`" in " ".join(excess))


def test_an_account_that_reads_every_database_reads_the_passwords_too() -> None:
    name = f"fluxport_{secrets.token_hex(4)}"
    with scratch_database() as database:
        database.run(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'secret'")
        try:
            database.run(f"GRANT SELECT ON *.* TO '{name}'@'%'")
            assert inspect_account(f"mysql://{name}:secret@{database.url.rsplit('@', 1)[1]}").excess == (
                "SELECT ON *.*",
            )
        finally:
            database.run(f"DROP USER '{name}'@'%'")


def test_a_superuser_may_do_everything(tmp_path: Path) -> None:
    with scratch_postgres() as database:
        assert "everything (superuser)" in inspect_account(database.url).excess


def test_a_file_is_opened_to_be_read_alone(tmp_path: Path) -> None:
    (tmp_path / "rows.db").touch()
    assert inspect_account(f"sqlite:///{tmp_path}/rows.db").excess == ()


@pytest.mark.parametrize(
    ("grant", "excess"),
    [
        ("GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*B69'", set()),
        ("GRANT SELECT (`id`, `on`), INSERT (`id`) ON `shop`.`t` TO `a`@`%`", {"INSERT"}),
        ("GRANT SELECT, FILE, PROCESS ON *.* TO `a`@`%`", {"FILE", "SELECT ON *.*"}),
        ("GRANT SELECT ON `*.* `.* TO `a`@`%`", set()),
        ("GRANT SELECT ON `shop`.* TO `a`@`%` WITH GRANT OPTION", {"GRANT OPTION"}),
        ("GRANT BACKUP_ADMIN,SYSTEM_USER ON *.* TO `a`@`%`", {"BACKUP_ADMIN", "SYSTEM_USER"}),
        ("GRANT PROXY ON ''@'%' TO 'root'@'localhost'", {"PROXY"}),
        ("GRANT `reader`@`%` TO `a`@`%`", set()),
    ],
)
def test_a_line_of_show_grants(grant: str, excess: set[str]) -> None:
    assert excess_privileges(grant) == excess

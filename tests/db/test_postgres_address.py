"""Addresses of PostgreSQL as libpq takes them, and what is refused by name."""

import pytest

from guilder.db.postgres import postgres_address, postgres_dsn

BASE = "postgresql://u:p%40ss@db.example"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (f"{BASE}/bank", f"{BASE}/bank"),
        (f"{BASE}/bank?sslmode=require", f"{BASE}/bank?sslmode=require"),
        (f"{BASE}/bank?ssl=require", f"{BASE}/bank?sslmode=require"),
        (f"{BASE}/bank?ssl=true", f"{BASE}/bank?sslmode=require"),
        (f"{BASE}/bank?ssl=verify-full", f"{BASE}/bank?sslmode=verify-full"),
        (
            "postgres://u@/bank?host=/run/postgresql&port=5433",
            "postgresql://u@/bank?host=%2Frun%2Fpostgresql&port=5433",
        ),
        ("postgresql+asyncpg://u@h/bank", "postgresql://u@h/bank"),
        ("postgresql://u@h1:1,h2:2/bank", "postgresql://u@h1:1,h2:2/bank"),
        (
            f"{BASE}/bank?sslmode=verify-full&sslrootcert=/etc/ca.pem&options=-c%20a%3Db",
            f"{BASE}/bank?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&options=-c%20a%3Db",
        ),
        (f"{BASE}/bank?connect_timeout=10&keepalives=1&application_name=x", f"{BASE}/bank"),
        (f"{BASE}/bank?channel_binding=prefer&gssencmode=disable", f"{BASE}/bank"),
    ],
)
def test_what_libpq_knows_is_taken(given: str, wanted: str) -> None:
    assert postgres_dsn(given) == wanted


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("sslmod=require", "do not know: sslmod"),
        ("statement_timeout=5", "do not know: statement_timeout"),
        ("sslmode=", "has an sslmode that is none: disable, allow, prefer"),
        ("sslmode=required", "has an sslmode that is none: disable, allow, prefer"),
        ("channel_binding=require", "channel_binding=require, which cannot be kept"),
        ("gssencmode=require", "gssencmode=require, which cannot be kept"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(query: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        postgres_dsn(f"{BASE}/bank?{query}")
    assert "p%40ss" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"{BASE}:5432/bank?sslmode=require", "postgresql://db.example:5432/bank"),
        ("postgresql://u:p@/bank?host=/run/pg&port=1", "postgresql:///run/pg:1/bank"),
        ("postgresql://?dbname=bank&user=u&password=p", "postgresql://localhost/bank"),
    ],
)
def test_people_are_shown_where_it_is_and_never_by_whom(url: str, shown: str) -> None:
    assert postgres_address(url).shown == shown

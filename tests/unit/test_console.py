"""What commands say of a database's URL that PostgreSQL's library refuses: what is wrong, and no secret."""

import pytest
import typer
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn

from scripts.console import settings_or_exit
from scripts.database_url import _CHOICES

NO_URL = "is not a PostgreSQL URL"
UNKNOWN = "is a PostgreSQL URL with an unknown option: "
EMPTY = "is a PostgreSQL URL with an option without a value: "
WRONG = "is a PostgreSQL URL with a wrong value of an option: "


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://localhost/x?sslmod=require", UNKNOWN + "sslmod"),
        (
            "postgres://localhost?sslmode=require&sslmod=s3cret&pool_size=5&ssl=true",
            UNKNOWN + "sslmod, pool_size",
        ),
        ("postgresql://user:s3cret@localhost/x?schema=public", UNKNOWN + "schema"),
        ("postgresql://localhost/x?s3cret!=1", UNKNOWN + "(not a name)"),
        ("postgresql://localhost/x?sslmode", EMPTY + "sslmode"),
        ("postgresql://user:a/b?s3cret=1@localhost/x", NO_URL),
        ("postgresql://user:s3cret%zz@localhost/x", NO_URL),
        ("postgresql://localhost/x?application_name=%zz", NO_URL),
        ("mysql://localhost/x?sslmode=require", NO_URL),
        ("s3cret", NO_URL),
        ("postgresql://localhost/x?sslmode=s3cret", WRONG + "sslmode"),
        ("postgresql://localhost/x?sslmode=", WRONG + "sslmode"),
        ("postgresql://localhost:99999/x?keepalives=s3cret", WRONG + "port, keepalives"),
        ("postgresql://localhost:0/x", WRONG + "port"),
        ("postgresql://user:p@ss:s3cret@localhost/x", WRONG + "port"),
        ("postgresql://a,b/x?port=1,2,3", WRONG + "port"),
        ("postgresql://localhost/x?connect_timeout=soon", WRONG + "connect_timeout"),
        ("postgresql://localhost/x?target_session_attrs=master", WRONG + "target_session_attrs"),
        ("postgresql://localhost/x?ssl_min_protocol_version=TLSv9", WRONG + "ssl_min_protocol_version"),
    ],
)
def test_a_url_that_is_refused_is_told_what_is_wrong_with_it(
    capsys: pytest.CaptureFixture[str], url: str, words: str
) -> None:
    with pytest.raises(typer.Exit) as ended:
        settings_or_exit(database_url=url)
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err
    assert said == f"tallystick: TALLYSTICK_DATABASE_URL: {words}\n"
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "after",
    [
        *("/x", "/x?", "/x?sslmode=prefer", "/x?ssl=true", "/x?target_session_attrs=primary&"),
        *(
            "/x?ssl_min_protocol_version=TLSv1.2",
            "/x?gssencmode=require&connect_timeout=0",
            "/x?options=-c%20a%3D1",
        ),
        *(":65535/x", ",b:1,2/x", ",b:1/x", ",b/x?port=,1", "/x?hostaddr=::1,::2&port=1,2&host="),
    ],
)
def test_a_url_that_is_well_formed_is_taken(after: str) -> None:
    url = f"postgresql://user@localhost{after}"
    assert settings_or_exit(database_url=url).database_url == url


@pytest.mark.parametrize("name", [name for name, choices in _CHOICES.items() if "[" not in choices])
def test_the_library_takes_the_same_values(name: str) -> None:
    values = _CHOICES[name].split("|")
    assert [value for value in (*values, "other") if is_refused(name, value)] == ["other"]


def is_refused(name: str, value: str) -> bool:
    """Ask PostgreSQL's library, which refuses a wrong value before it looks for the server."""
    connection = PGconn.connect_start(make_conninfo(host="/nowhere", **{name: value}).encode())
    try:
        return f'invalid {name} value: "{value}"'.encode() in connection.error_message
    finally:
        connection.finish()

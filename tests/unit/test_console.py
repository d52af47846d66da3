"""What commands say of a database's URL that PostgreSQL's library refuses: what is wrong, and no secret."""

import pytest
import typer

from scripts.console import settings_or_exit

NO_URL = "is not a PostgreSQL URL"
UNKNOWN = "is a PostgreSQL URL with an unknown option: "
EMPTY = "is a PostgreSQL URL with an option without a value: "


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
    "options", ["", "?", "?sslmode=prefer", "?ssl=true", "?target_session_attrs=primary&"]
)
def test_a_url_that_is_well_formed_is_taken(options: str) -> None:
    url = f"postgresql://user@localhost/x{options}"
    assert settings_or_exit(database_url=url).database_url == url

"""The settings that say where a service is reached: they are told to callers, and paths are appended to them."""

from typing import Any

import pytest
from pydantic import ValidationError

from api.settings import Settings

NAMES = ("primary_url", "public_url")


def of_settings(name: str, value: str) -> Any:
    settings = Settings.model_validate({name: value})
    return getattr(settings, name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("https://books.example.com", "https://books.example.com"),
        ("https://books.example.com/", "https://books.example.com"),
        ("http://10.0.0.1:8000/books/", "http://10.0.0.1:8000/books"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://api_1:8000", "http://api_1:8000"),
    ],
)
def test_an_address_is_kept_without_a_slash_at_its_end(name: str, given: str, kept: str) -> None:
    assert of_settings(name, given) == kept


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "given",
    [
        "books.example.com",
        "ftp://books.example.com",
        "http://",
        "http://:8000",
        "http://books.example.com:99999",
        "http://books.example.com:0",
        "http://books.example.com:eight",
        "http://[::1",
        "http://clerk:secret@books.example.com",
        "http://books.example.com?ledger=main",
        "http://books.example.com/v1?ledger=main",
        "http://books.example.com/#top",
        "http://books example.com",
    ],
)
def test_what_no_path_can_be_appended_to_is_refused(name: str, given: str) -> None:
    with pytest.raises(ValidationError) as refused:
        of_settings(name, given)
    (error,) = refused.value.errors()
    assert "must be the address of a service, such as https://books.example.com" in error["msg"]


def test_a_wrong_address_is_refused_once() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"primary_url": "books.example.com", "forward": True})
    (error,) = refused.value.errors()
    assert error["loc"] == ("primary_url",)

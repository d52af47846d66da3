"""Which texts are ids, and the single form in which ids are written."""

from uuid import UUID

import pytest

from domain.model.ids import canonical_id, is_id

ID = "0b2f7c1e-8d3a-5b6f-9c0d-1e2f3a4b5c6d"


@pytest.mark.parametrize(
    "id",
    [
        ID,
        ID.upper(),
        ID.title(),
        str(UUID(int=0)),
        str(UUID(int=2**128 - 1)),
        "9a3f1c2e-7b4d-5e6f-8a9b-0c1d2e3f4a5b",
    ],
)
def test_ids_are_read_without_regard_to_case(id: str) -> None:
    assert is_id(id)
    assert canonical_id(id) == str(UUID(id))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "x",
            ID[:-1],
            ID + "0",
            ID.replace("-", ""),
            "{" + ID + "}",
            f"urn:uuid:{ID}",
            f" {ID}",
            f"{ID}\n",
        ),
        *(ID.replace("-", "_"), ID.replace("0", "O"), ID.replace("0", "٠"), ID.replace("-", "", 1) + "0"),
    ],
)
def test_nothing_else_is_one_and_stays_as_it_is(text: str) -> None:
    assert not is_id(text)
    assert canonical_id(text) == text

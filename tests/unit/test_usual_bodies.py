"""Usual bodies: read as their models read them, or left to their models."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from pydantic import BaseModel, ValidationError

from api.http.body import BATCH_BODY_VALUES, MAX_USUAL_BYTES, parse_json, read_usual
from api.problems import HttpRefusal
from api.resources.transactions.batch_schemas import BatchRequest
from api.resources.transactions.schemas import TransactionRequest
from api.resources.transactions.usual_bodies import usual_batch, usual_transaction
from domain.model.errors import LedgerError

FORMS: dict[str, tuple[Any, type[BaseModel]]] = {
    "transaction": (usual_transaction, TransactionRequest),
    "batch": (usual_batch, BatchRequest),
}


def entry(**members: Any) -> dict[str, Any]:
    return {"account": "users:bob", "direction": "debit", "amount": 5, **members}


def posting(**members: Any) -> dict[str, Any]:
    return {"entries": [entry(), entry(direction="credit")], **members}


def batch(*items: dict[str, Any]) -> dict[str, Any]:
    keyed = [{"idempotency_key": f"order-{number}", **item} for number, item in enumerate(items)]
    return {"mode": "atomic", "transactions": keyed}


def read(form: str, body: bytes) -> tuple[Any, Any] | None:
    return read_usual(body, FORMS[form][0], BATCH_BODY_VALUES)


def judged(form: str, body: bytes) -> Any:
    """Return the body as its model makes it; None if it is refused."""
    try:
        return FORMS[form][1].model_validate(parse_json(body))
    except (LedgerError, ValidationError):
        return None


def plain(made: Any) -> Any:
    """Return what a body has, whatever makes it: members without a value of their own have their default."""
    if isinstance(made, Struct):
        made = {name: getattr(made, name) for name in made.__struct_fields__}
    elif isinstance(made, BaseModel):
        made = dict(made)
    if isinstance(made, dict):
        return {name: plain(value) for name, value in made.items() if value is not None}
    return [plain(item) for item in made] if isinstance(made, list | tuple) else made


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["close", "spaced"])
@pytest.mark.parametrize(
    ("form", "sent"),
    [
        ("transaction", posting()),
        ("transaction", posting(pending=True, metadata={"a.b": "", "c": "ü"}, reference="r", description="")),
        ("batch", batch(posting())),
        ("batch", batch(posting(), posting(pending=False, reference=""))),
    ],
)
def test_a_usual_body_is_read(form: str, sent: Any, separators: tuple[str, str]) -> None:
    body = json.dumps(sent, separators=separators, ensure_ascii=False).encode()
    found = read(form, body)
    assert found is not None and found[0] == sent
    assert plain(found[1]) == plain(judged(form, body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"entries":[]}',
        json.dumps(posting(reference="\u00fc")).encode(),
        json.dumps(posting(reference="\\")).encode(),
        json.dumps(posting(expires_at=None)).encode(),
        json.dumps(posting(effective_at="2026-11-23T20:00:00Z")).encode(),
        json.dumps(posting(other=1)).encode(),
        json.dumps(posting(metadata={"a": 1})).encode(),
        json.dumps(posting(entries=[entry()])).encode(),
        json.dumps(posting(entries=[entry(amount=5.0), entry(direction="credit")])).encode(),
        json.dumps(posting(entries=[entry(account="users:"), entry(direction="credit")])).encode(),
        json.dumps(posting()).encode().replace(b"5", b"true"),
        json.dumps(posting()).encode().replace(b"5", b"5e0"),
        json.dumps(posting()).encode().replace(b"5", b"-0"),
        json.dumps(posting()).encode().replace(b"bob", b"b\xffb"),
        json.dumps(posting()).encode().replace(b"bob", b"bob\n"),
        json.dumps(posting()).encode().replace(b'"amount"', b'"amount": 5, "amount"'),
        json.dumps(posting()).encode()[:-1] + b', "metadata": {"a": "b", "a": "c"}}',
        json.dumps(posting()).encode() + b" 1",
        b"\xef\xbb\xbf" + json.dumps(posting()).encode(),
    ],
)
def test_any_other_body_is_left_to_its_model(body: bytes) -> None:
    assert read("transaction", body) is None


def test_an_item_that_settles_is_left_to_its_model() -> None:
    settling = {"idempotency_key": "a", "settle": "b911c162-7512-5bee-9816-e264126b280a"}
    body = json.dumps({"mode": "independent", "transactions": [settling]}).encode()
    assert read("batch", body) is None and judged("batch", body) is not None


def test_a_body_of_too_many_values_is_left_to_be_refused() -> None:
    body = json.dumps(posting()).encode()
    assert read_usual(body, usual_transaction, body.count(b",")) is not None
    assert read_usual(body, usual_transaction, body.count(b",") - 1) is None
    with pytest.raises(HttpRefusal):
        parse_json(body, body.count(b",") - 1)


_TEXTS = st.sampled_from(["", "a", "users:bob", "users:bob:", "ü", "a\\u0000", "\\n", "x" * 256, " a", "1"])
_VALUES = st.one_of(
    st.sampled_from(
        ["5", "0", "-0", "1", "5.0", "1e2", "9007199254740991", "9007199254740992", "true", "false", "null"]
    ),
    _TEXTS.map(lambda text: f'"{text}"'),
    st.sampled_from(["{}", "[]", '"debit"', '"credit"', '{"a":"b"}', '{"a":"b","a":"b"}', '{"a b":""}']),
)
_NAMES = st.sampled_from(
    ["account", "direction", "amount", "reference", "metadata", "pending", "expires_at", "x"]
)


@given(
    form=st.sampled_from(sorted(FORMS)),
    members=st.lists(st.tuples(_NAMES, _VALUES), max_size=4),
    of_entry=st.lists(st.tuples(_NAMES, _VALUES), max_size=2),
    space=st.sampled_from(["", " ", "\n\t"]),
)
def test_what_is_read_is_what_the_model_makes(
    form: str, members: list[tuple[str, str]], of_entry: list[tuple[str, str]], space: str
) -> None:
    first = [
        *{name: json.dumps(value) for name, value in entry().items() if name not in dict(of_entry)}.items()
    ]
    entries = f"[{written([*first, *of_entry], space)},{json.dumps(entry(direction='credit'))}]"
    sent = written([("entries", entries), *members], space)
    if form == "batch":
        sent = f'{{"mode":"independent","transactions":[{sent[:-1]},"idempotency_key":"a"}}]}}'
    body = sent.encode()
    found = read(form, body)
    if found is not None:
        assert found[0] == parse_json(body)
        assert plain(found[1]) == plain(judged(form, body))


def written(members: list[tuple[str, str]], space: str) -> str:
    """Return an object of JSON whose values are JSON already."""
    inside = f",{space}".join(f'"{name}":{space}{value}' for name, value in members)
    return f"{{{space}{inside}{space}}}"


def test_a_body_that_would_keep_the_others_waiting_is_left_to_its_model() -> None:
    item = {"idempotency_key": "a", **posting()}
    body = json.dumps({"mode": "atomic", "transactions": [item] * 4}).encode()
    assert read("batch", body + b" " * (MAX_USUAL_BYTES - len(body))) is not None
    assert read("batch", body + b" " * (MAX_USUAL_BYTES - len(body) + 1)) is None

"""Every route, called by every kind of caller, about things of a ledger that the caller may or may not see.

`ROUTES` is written by hand and says who may do what. A new route fails here until it has a row. Everything exists
twice, in `mine` and in `theirs`, so that a caller of one ledger is also tested on the things of the other.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import httpx2
import pytest
from psycopg import Connection

from api.resources import ENDPOINTS
from api.security.keys import ROLES
from projections.engine.dead_letters import add_letter
from projections.engine.poison import Poison
from projections.registry import PROJECTIONS
from projections.witnessing.logs import watch
from tests.contract.answers import code_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.serving import Served, serving
from tests.databases import Databases
from tests.projecting import eventually

Whose = Literal["ledger", "thing", "body", "list", "every", "none", "anybody", "signed"]
"""Which ledgers the caller's key must be granted, besides the role.

`ledger`: the one in the path. `thing`: all ledgers of the thing in the path. `body`: all ledgers named in the body.
`list`: none, but the list shows only what concerns the caller's ledgers. `every`: all that exist. `none`: none.
`anybody` needs no key. `signed` needs a signature instead of a key.
"""

C, P, A, O = "client", "poster", "auditor", "operator"  # noqa: E741 - one letter each, so that the table is one

# operation: the roles that may call it, and the ledgers they need
ROUTES: dict[str, tuple[set[str], Whose]] = {
    "open_ledger": ({C}, "every"),
    "list_ledgers": ({C, P, A}, "list"),
    "get_ledger": ({C, P, A}, "ledger"),
    # Accounts. A poster changes none.
    "open_account": ({C}, "ledger"),
    "change_account": ({C}, "ledger"),
    "freeze_account": ({C}, "ledger"),
    "unfreeze_account": ({C}, "ledger"),
    "close_account": ({C}, "ledger"),
    "get_account": ({C, P, A}, "ledger"),
    "list_accounts": ({C, P, A}, "ledger"),
    "list_entries": ({C, P, A}, "ledger"),
    "get_balance": ({C, P, A}, "ledger"),
    "list_balances": ({C, P, A}, "ledger"),
    "get_trial_balance": ({C, P, A}, "ledger"),
    # Money.
    "post_transaction": ({C, P}, "ledger"),
    "post_batch": ({C, P}, "ledger"),
    "settle_hold": ({C, P}, "ledger"),
    "void_hold": ({C, P}, "ledger"),
    "reverse_transaction": ({C, P}, "ledger"),
    "get_transaction": ({C, P, A}, "ledger"),
    "list_transactions": ({C, P, A}, "ledger"),
    "request_payout": ({C, P}, "ledger"),
    "get_payout": ({C, P, A, O}, "ledger"),
    "list_payouts": ({C, P, A, O}, "ledger"),
    "reconcile_payout": ({O}, "ledger"),
    "complete_payout": ({O}, "ledger"),
    "fail_payout": ({O}, "ledger"),
    "receive_callback": (set(), "signed"),
    # Outcomes.
    "get_operation": ({C, P, A}, "ledger"),
    "trace_operation": ({C, P, A, O}, "ledger"),
    "trace_conversation": ({C, P, A, O}, "ledger"),
    "trace_everywhere": ({C, P, A, O}, "list"),
    "list_events": ({C, P, A}, "ledger"),
    # Proofs.
    "list_trail": ({A, O}, "list"),
    "get_checkpoint": ({A, O}, "none"),
    "list_checkpoints": ({A, O}, "none"),
    "get_past_checkpoint": ({A, O}, "none"),
    "prove_inclusion": ({A, O}, "none"),
    "prove_consistency": ({A, O}, "none"),
    "get_verifier_key": ({A, O}, "none"),
    "get_witnesses": ({A, O}, "none"),
    "list_witnessed": ({A, O}, "none"),
    # Keys.
    "make_key": ({O}, "body"),
    "list_keys": ({A, O}, "list"),
    "rotate_key": ({O}, "thing"),
    "revoke_key": ({O}, "thing"),
    # Projections. Each covers all ledgers.
    "list_projections": ({A, O}, "none"),
    "get_projection": ({A, O}, "none"),
    "pause_projection": ({O}, "every"),
    "resume_projection": ({O}, "every"),
    "rebuild_projection": ({O}, "every"),
    "cancel_projection_rebuild": ({O}, "every"),
    "pause_projection_rebuild": ({O}, "every"),
    "resume_projection_rebuild": ({O}, "every"),
    "list_dead_letters": ({A, O}, "list"),
    "get_dead_letter": ({A, O}, "thing"),
    "retry_dead_letter": ({O}, "thing"),
    "discard_dead_letter": ({O}, "thing"),
    "list_stuck": ({A, O}, "list"),
    # Webhooks.
    "register_webhook": ({O}, "body"),
    "list_webhooks": ({A, O}, "list"),
    "get_webhook": ({A, O}, "thing"),
    "rotate_webhook_secret": ({O}, "thing"),
    "disable_webhook": ({O}, "thing"),
    "enable_webhook": ({O}, "thing"),
    "delete_webhook": ({O}, "thing"),
    "list_deliveries": ({A, O}, "thing"),
    "get_delivery": ({A, O}, "thing"),
    "retry_delivery": ({O}, "thing"),
    "discard_delivery": ({O}, "thing"),
    # The service itself.
    "list_installations": ({A, O}, "none"),
    "get_liveness": (set(), "anybody"),
    "get_readiness": (set(), "anybody"),
    "get_metrics": ({A, O}, "every"),
    "get_document": (set(), "anybody"),
    "get_documentation": (set(), "anybody"),
    "get_documentation_asset": (set(), "anybody"),
    "get_rules_for_models": (set(), "anybody"),
    "get_problem": (set(), "anybody"),
}
DECLARED = {endpoint.declared.operation_id: endpoint.declared for endpoint in ENDPOINTS}
ADMITTED = {200, 201, 202, 204, 400, 409, 412, 422, 503}
"""Statuses a caller may get once admitted. The thing named exists, and the request is often ill-formed."""

QUERIES = {
    "list_stuck": "?order=desc",
    "prove_inclusion": "?position=1",
    "prove_consistency": "?from=1&to=1",
    "trace_conversation": "?correlation_id=x",
    "trace_everywhere": "?correlation_id=matrix",
}


class Caller(NamedTuple):
    """A caller: the roles and ledgers of its key, `*` for all. `is_known` is false if the key is not valid."""

    client: httpx2.Client
    roles: frozenset[str]
    ledgers: frozenset[str]
    is_known: bool = True

    def may_use(self, ledger: str) -> bool:
        """Tell whether the key was granted this ledger."""
        return bool(self.ledgers & {"*", ledger})


class Side(NamedTuple):
    """One of the two ledgers, and the names of one of everything in it."""

    book: Book
    names: dict[str, dict[str, str]]
    mark: str
    """What every list that shows this ledger contains."""


class World(NamedTuple):
    """The service with its callers, both ledgers, and a client that may do everything."""

    served: Served
    callers: dict[str, Caller]
    sides: tuple[Side, Side]
    owner: httpx2.Client


def test_the_table_has_a_row_for_every_route() -> None:
    assert ROUTES.keys() == DECLARED.keys()


@pytest.fixture(scope="module")
def world(databases: Databases) -> Iterator[World]:
    """Two ledgers with one of everything, and every kind of caller."""
    with serving(databases) as served, served.client() as owner:
        keys = Keys(served, owner)
        with served.database.connect_as_owner("test owner") as connection:
            watch(connection, "west")
            sides = furnished(served, owner), furnished(served, owner)
            yield World(served, callers(keys, owner, connection, sides[0].book.name), sides, owner)
        keys.close()


def furnished(served: Served, owner: httpx2.Client) -> Side:
    """Make a ledger and one of everything in it."""
    name = f"l{uuid4().hex[:12]}"
    talk = {"Correlation-Id": "matrix"}
    assert owner.post("/v1/ledgers", json={"name": name}, headers=talk).status_code == 201
    book = Book(owner, name)
    book.open("a")
    book.open("b")
    hook = post(owner, "/v1/webhooks", webhook_of(name, ["transaction.posted"]))
    made = book.transfer("a", "b", 1, "order-1").json()
    payout = book.pay_out(1, account="a").json()
    key = post(owner, "/v1/keys", key_of(name))
    letter = uuid4()
    poison = Poison(f"{name}/transactions/{made['id']}", made["position"], ValueError("poison"))
    with served.holder(name).connect_as_owner("test owner") as holder:
        eventually(lambda: progress(holder, "entries") >= made["position"])
        add_letter(holder, PROJECTIONS["entries"], live(holder, "entries"), poison, 1, letter)
    deliveries = f"/v1/webhooks/{hook['id']}/deliveries"
    eventually(lambda: bool(owner.get(deliveries).json()["data"]))
    delivery = owner.get(deliveries).json()["data"][0]["id"]
    thing = {"key": "order-1", "address": "a", "ledger": name}
    names = {
        "transactions": {**thing, "id": made["id"]},
        "payouts": {**thing, "id": payout["id"]},
        "keys": {"id": key["id"]},
        "webhooks": {"id": hook["id"], "delivery": str(delivery)},
        "dead-letters": {"id": str(letter)},
    }
    return Side(book, names, name)


def post(client: httpx2.Client, path: str, body: Any) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def key_of(ledger: str) -> dict[str, Any]:
    return {"name": f"shop {uuid4().hex}", "roles": [C], "ledgers": [ledger]}


def webhook_of(ledger: str, types: list[str]) -> dict[str, Any]:
    return {"url": "https://93.184.216.34/ledger", "ledgers": [ledger], "types": types}


def live(connection: Connection[Any], projection: str) -> int:
    """The live version of a projection."""
    query = "SELECT version FROM projection_versions WHERE name = %s AND live"
    ((version,),) = connection.execute(query, [projection]).fetchall()
    return int(version)


def progress(connection: Connection[Any], projection: str) -> int:
    """The position of a projection."""
    query = "SELECT position FROM projection_versions WHERE name = %s AND live"
    ((position,),) = connection.execute(query, [projection]).fetchall()
    return int(position)


def callers(keys: Keys, owner: httpx2.Client, connection: Connection[Any], mine: str) -> dict[str, Caller]:
    """Make every kind of caller: each role alone and all together, with one ledger, none and all, and one without a
    key.
    """
    made = {}
    for roles in ([C], [P], [A], [O], [*ROLES]):
        for granted in ([mine], [], ["*"]):
            new = f"tk_{uuid4().hex}"
            # Written into the table itself, because an older release made client keys without ledgers.
            connection.execute(
                "INSERT INTO api_keys (id, name, roles, ledgers, key_sha256) VALUES (%s, %s, %s, %s, %s)",
                (uuid4(), f"matrix {uuid4().hex}", roles, granted, hashlib.sha256(new.encode()).digest()),
            )
            name = f"{'+'.join(roles) if len(roles) == 1 else 'all roles'} of {granted or 'nothing'}"
            made[name] = Caller(keys.client_with(new), frozenset(roles), frozenset(granted))
    nobody = frozenset[str]()
    revoked, rotated, expired = (keys.make(*ROLES, ledgers=["*"]) for _ in range(3))
    assert owner.delete(f"/v1/keys/{revoked['id']}").status_code == 204
    assert owner.post(f"/v1/keys/{rotated['id']}/rotate", json={}).status_code == 201
    connection.execute("UPDATE api_keys SET valid_until = now() WHERE id = %s", (expired["id"],))
    for name, key in (("revoked", revoked), ("rotated", rotated), ("expired", expired)):
        made[name] = Caller(keys.client_with(key["key"]), nobody, nobody, is_known=False)
    made["without a key"] = Caller(keys.client_with(None), nobody, nobody, is_known=False)
    return made


@pytest.mark.parametrize("operation", ROUTES)
def test_who_may_what(world: World, operation: str) -> None:
    _, whose = ROUTES[operation]
    wrong = []
    for name, caller in world.callers.items():
        for side in world.sides:
            answer = ask(world, operation, caller, side)
            expected = expectation(operation, caller, side)
            if not expected(answer):
                wrong.append(
                    (name, "theirs" if side is world.sides[1] else "mine", answer.status_code, answer.text)
                )
    assert not wrong, whose


def expectation(operation: str, caller: Caller, side: Side) -> Callable[[httpx2.Response], bool]:
    """Return a function that tells whether an answer is as the table says."""
    roles, whose = ROUTES[operation]
    if whose == "anybody":
        return lambda answer: answer.status_code not in (401, 403)
    if whose == "signed" or not caller.is_known:
        return lambda answer: (
            (answer.status_code, code_of(answer)) in ((401, "unauthenticated"), (401, "signature_invalid"))
        )
    asked = {"every": "*", "list": None, "none": None}.get(whose, side.book.name)
    if not caller.roles & roles or (asked and not caller.may_use(asked)):
        return lambda answer: (answer.status_code, code_of(answer)) == (403, "forbidden")
    if whose == "list":
        shown = caller.may_use(side.book.name)
        return lambda answer: answer.status_code == 200 and (side.mark in answer.text) == shown
    # An unsigned size has no checkpoint for any caller.
    admitted = ADMITTED | ({404} if operation == "get_past_checkpoint" else set())
    return lambda answer: answer.status_code in admitted


def ask(world: World, operation: str, caller: Caller, side: Side) -> httpx2.Response:
    """Call a route about one side without changing anything the next call needs."""
    declared, whose = DECLARED[operation], ROUTES[operation][1]
    names = {
        "name": "entries",
        "provider": "simulator",
        "code": "forbidden",
        "asset": "swagger-ui.css",
        "size": "1",
        "log": "west",
    }
    names |= named(world, operation, declared.path, side)
    path = re.sub(r"{(\w+)}", lambda found: names[found[1]], declared.path)
    if whose == "list" and operation not in ("list_stuck", "trace_everywhere"):
        path += "?order=desc&page_size=1000"
        if declared.projected:
            path += f"&min_position={caller_head(world)}"
    body = body_of(operation, side) if declared.body else None
    return caller.client.request(declared.method, path + QUERIES.get(operation, ""), json=body)


def caller_head(world: World) -> int:
    """The newest position."""
    position = world.owner.get(world.sides[0].book.path).headers["ledger-position"]
    return int(position)


def named(world: World, operation: str, path: str, side: Side) -> dict[str, str]:
    """Return the names in a path. What the call would destroy is made anew for each request."""
    if operation == "revoke_key":
        return {"id": post(world.owner, "/v1/keys", key_of(side.book.name))["id"]}
    if operation == "delete_webhook":
        return {"id": post(world.owner, "/v1/webhooks", webhook_of(side.book.name, ["ledger.opened"]))["id"]}
    kind = path.removeprefix("/v1/ledgers/{ledger}").removeprefix("/v1").split("/")[1:2]
    return side.names.get(kind[0] if kind else "transactions") or side.names["transactions"]


def body_of(operation: str, side: Side) -> Any:
    """Return a body that names the ledger if the route's body has one. Otherwise an ill-formed body, which changes
    nothing.
    """
    if operation == "make_key":
        return key_of(side.book.name)
    if operation == "register_webhook":
        return webhook_of(side.book.name, ["ledger.opened"])
    return {"unknown": 1}


def test_a_thing_that_is_not_there_is_not_found_by_who_might_have_seen_it(world: World) -> None:
    """A caller that knows a random id was given it, so the difference between 403 and 404 reveals nothing."""
    operator = world.callers[f"operator of {[world.sides[0].book.name]}"].client
    for path in ("/v1/keys/{}/rotate", "/v1/webhooks/{}/rotate", "/v1/dead-letters/{}/retry"):
        assert operator.post(path.format(uuid4()), json={}).status_code == 404


def test_who_was_granted_no_ledger_ends_nobody_elses_key(world: World) -> None:
    operator = world.callers["operator of nothing"].client
    listed = world.owner.get("/v1/keys?page_size=1000").json()["data"]
    (bootstrap,) = (key["id"] for key in listed if key["name"] == "bootstrap")
    for answer in (
        operator.delete(f"/v1/keys/{bootstrap}"),
        operator.post(f"/v1/keys/{bootstrap}/rotate", json={}),
    ):
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")
    shown = operator.get("/v1/keys?page_size=1000").json()["data"]
    assert all(key["ledgers"] == [] for key in shown) and len(shown) < len(listed)
    assert "bootstrap" not in json.dumps(shown)


def test_the_document_says_whose_ledgers_a_route_concerns(world: World) -> None:
    expected = {"ledger": "LEDGER", "thing": "THING", "body": "GRANTED", "list": "GRANTED", "every": "EVERY"}
    for path in world.served.checked.document["paths"].values():
        for operation in path.values():
            _, whose = ROUTES[operation["operationId"]]
            shown = operation.get("x-ledgers", {}).get("class")
            assert shown == {**expected, "none": "NONE"}.get(whose, "").lower() or whose in (
                "anybody",
                "signed",
            )

"""What a replica answers from its copy, and which position it says that this reflects."""

import json
from itertools import pairwise
from threading import Event, Thread

import httpx2
import psycopg
import pytest

from domain.journal.database import Database
from tests.contract.books import Book, new_book
from tests.contract.serving import replica_of
from tests.integration.replicas.pairs import Pair, caller, run, write
from tests.projecting import eventually

pytestmark = pytest.mark.integration

LISTS = (
    "transactions",
    "accounts",
    "balances",
    "trial-balance",
    "accounts/b/entries",
    "accounts/b/balance",
    "events",
)


def test_a_read_waits_until_the_copy_has_the_position(
    pair: Pair, primary: httpx2.Client, refusing: httpx2.Client, book: Book
) -> None:
    before = write(primary, book.name)
    lists = [f"{book.path}/{name}" for name in LISTS]
    for path in lists:
        assert refusing.get(path, params={"min_position": before}).status_code == 200
    with pair.not_replaying():
        position = write(primary, book.name)
        for path in lists:
            late = refusing.get(path, params={"min_position": position}, headers={"Prefer": "wait=0.1"})
            assert (late.status_code, late.json()["code"]) == (503, "projection_behind")
            assert late.json()["head"] < position
            old = refusing.get(path)
            assert old.status_code == 200
            assert before <= int(old.headers["Ledger-Head"]) < position
    for path in lists:
        fresh = refusing.get(path, params={"min_position": position}, headers={"Prefer": "wait=30"})
        assert fresh.status_code == 200, fresh.text
        assert int(fresh.headers["Ledger-Position"]) >= position


def test_what_is_not_in_the_copy_yet_is_awaited_and_not_denied(
    pair: Pair, primary: httpx2.Client, refusing: httpx2.Client
) -> None:
    with pair.not_replaying():
        book = new_book(primary)
        position = write(primary, book.name)
        for name in LISTS:
            path, asked = f"{book.path}/{name}", {"min_position": position}
            early = refusing.get(path, params=asked, headers={"Prefer": "wait=0"})
            assert (early.status_code, early.json()["code"]) == (503, "projection_behind"), path
    for name in LISTS:
        path, asked = f"{book.path}/{name}", {"min_position": position}
        assert refusing.get(path, params=asked, headers={"Prefer": "wait=30"}).status_code == 200


def test_every_reader_who_waits_is_answered_when_the_copy_is_there(
    pair: Pair, primary: httpx2.Client, book: Book
) -> None:
    with pair.not_replaying():
        position = write(primary, book.name)
        found: list[int] = []

        def read(name: str) -> None:
            with caller(pair.refusing) as client:
                asked = {"min_position": position}
                answer = client.get(f"{book.path}/{name}", params=asked, headers={"Prefer": "wait=30"})
                assert answer.status_code == 200, answer.text
                found.append(int(answer.headers["Ledger-Position"]))

        readers = [Thread(target=read, args=(name,)) for name in LISTS]
        for reader in readers:
            reader.start()
    for reader in readers:
        reader.join()
    assert len(found) == len(LISTS)
    assert min(found) >= position


def test_a_cursor_of_one_service_leads_on_at_the_other(
    pair: Pair, primary: httpx2.Client, refusing: httpx2.Client, book: Book
) -> None:
    position = [write(primary, book.name) for _ in range(4)][-1]
    for name in ("transactions", "accounts/b/entries", "events"):
        path, asked = f"{book.path}/{name}", {"min_position": position, "page_size": 1}
        whole = [
            json.dumps(item) for item in primary.get(path, params={"min_position": position}).json()["data"]
        ]
        cursor, pages, services = None, [], [primary, refusing]
        while True:
            page = (
                services[0].get(path, params=asked if cursor is None else {**asked, "cursor": cursor}).json()
            )
            pages += [json.dumps(item) for item in page["data"]]
            cursor = page["next_cursor"]
            services.reverse()
            if cursor is None:
                break
        assert pages == whole


def test_a_stream_of_events_ends_at_the_head_of_the_copy(
    pair: Pair, primary: httpx2.Client, refusing: httpx2.Client, book: Book
) -> None:
    position = write(primary, book.name)
    headers = {"Accept": "application/x-ndjson"}
    path, asked = f"{book.path}/events", {"min_position": position}
    streamed = refusing.get(path, params=asked, headers=headers)
    assert streamed.text == primary.get(path, params=asked, headers=headers).text
    assert json.loads(streamed.text.splitlines()[-1])["position"] == position
    assert int(streamed.headers["Ledger-Position"]) >= position


def test_positions_never_go_back_while_others_write(
    pair: Pair, primary: httpx2.Client, refusing: httpx2.Client, book: Book
) -> None:
    stop = Event()

    def write_on() -> None:
        with caller(pair.served.url) as client:
            for _ in range(200):
                if not stop.is_set():
                    write(client, book.name)

    writing = Thread(target=write_on)
    writing.start()
    heads = []
    for _ in range(30):
        for path in (f"{book.path}/events", f"{book.path}/accounts", f"{book.path}/accounts/none/entries"):
            answer = refusing.get(path)
            heads.append(int(answer.headers["Ledger-Head"]))
        heads.append(int(refusing.post(f"{book.path}/transactions", json={}).headers["Ledger-Position"]))
    stop.set()
    writing.join()
    assert all(one <= next for one, next in pairwise(heads))
    assert heads[0] < heads[-1]


def test_proofs_and_checkpoints_are_those_of_the_primary(
    pair: Pair, primary: httpx2.Client, refusing: httpx2.Client, book: Book
) -> None:
    position = write(primary, book.name)
    asked = {"min_position": position}
    note = refusing.get("/v1/audit/checkpoint", params=asked, headers={"Prefer": "wait=30"}).text
    size = int(note.splitlines()[1])
    assert size >= position
    assert primary.get(f"/v1/audit/checkpoints/{size}").text == note
    assert refusing.get(f"/v1/audit/checkpoints/{size}").text == note
    proof = {"position": position, "size": size}
    for path, asked in (
        ("/v1/audit/proofs/inclusion", proof),
        ("/v1/audit/proofs/consistency", {"from": 1, "to": size}),
        ("/v1/audit/verifier-key", {}),
    ):
        assert refusing.get(path, params=asked).text == primary.get(path, params=asked).text


def test_what_operates_and_proves_states_the_position_of_the_copy(
    pair: Pair, primary: httpx2.Client, refusing: httpx2.Client, book: Book
) -> None:
    before = write(primary, book.name)
    asked = {"min_position": before}
    note = refusing.get("/v1/audit/checkpoint", params=asked, headers={"Prefer": "wait=30"})
    size = int(note.headers["Ledger-Position"])
    assert size == int(note.text.splitlines()[1])
    pair.replayed()
    paths = {
        "/v1/stuck": None,
        "/v1/trace?correlation_id=none": None,
        "/v1/keys": None,
        "/v1/projections": None,
        "/v1/projections/balances": None,
        "/v1/webhooks": None,
        "/v1/dead-letters": None,
        "/v1/audit/checkpoints": None,
        "/v1/audit/verifier-key": None,
        "/v1/audit/witnesses": None,
        f"/v1/audit/checkpoints/{size}": size,
        f"/v1/audit/proofs/inclusion?position=1&size={size}": size,
        f"/v1/audit/proofs/consistency?from=1&to={size}": size,
    }
    head = run(pair.primary, "SELECT position FROM tallystick.head")
    for client in (primary, refusing):
        for path, reflected in paths.items():
            answer = client.get(path)
            assert int(answer.headers["Ledger-Head"]) == head, path
            if path != "/v1/stuck":  # its read models may be behind
                assert int(answer.headers["Ledger-Position"]) == (reflected or head), path
    with pair.not_replaying():
        after = write(primary, book.name)
        for path in paths:
            assert int(primary.get(path).headers["Ledger-Head"]) >= after
            assert int(refusing.get(path).headers["Ledger-Head"]) == head


def test_what_operates_is_shown_from_the_copy(pair: Pair, refusing: httpx2.Client) -> None:
    pair.replayed()
    for path in (
        "/v1/projections",
        "/v1/stuck",
        "/v1/keys",
        "/v1/webhooks",
        "/v1/dead-letters",
        "/openapi.json",
    ):
        assert refusing.get(path).status_code == 200
    ready = refusing.get("/readyz", params={"verbose": "1"})
    assert ready.json()["checks"] == {"database": "ok", "migrations": "ok", "replay": "ok"}
    metrics = refusing.get("/metrics").text
    assert "tallystick_ready 1.0" in metrics
    assert "tallystick_replay_lag_seconds 0.0" in metrics


def test_a_copy_that_is_too_old_is_not_ready(pair: Pair, primary: httpx2.Client, book: Book) -> None:
    settings = pair.served.settings
    with (
        replica_of(settings, pair.served.url, pair.copy, max_replay_lag_seconds=0.2) as url,
        caller(url) as client,
    ):
        eventually(lambda: client.get("/readyz").status_code == 200)
        with pair.not_replaying():
            write(primary, book.name)
            eventually(lambda: client.get("/readyz").status_code == 503)
            assert client.get("/readyz").json()["reason"] == "replay_behind"
            assert client.get(f"{book.path}/accounts").status_code == 200
        eventually(lambda: client.get("/readyz").status_code == 200)


def test_a_login_that_may_only_read_is_enough(pair: Pair, primary: httpx2.Client, book: Book) -> None:
    run(pair.primary, "CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader")
    position = write(primary, book.name)
    pair.replayed()
    url = pair.standby.superuser_url.replace("postgres@", "reader@")
    settings, copy = pair.served.settings, Database(url, pair.served.database.schema)
    with replica_of(settings, pair.served.url, copy) as replica, caller(replica) as client:
        for name in LISTS:
            answer = client.get(f"{book.path}/{name}", params={"min_position": position})
            assert answer.status_code == 200, answer.text
        for path in (
            "/v1/stuck",
            "/v1/keys",
            "/v1/projections",
            "/readyz",
            "/metrics",
            "/v1/audit/checkpoint",
        ):
            assert client.get(path).status_code == 200
        assert 'tallystick_stuck{kind="payout_contradictory"}' in client.get("/metrics").text


def test_a_replica_cannot_write_even_on_a_primary(pair: Pair, primary: httpx2.Client, book: Book) -> None:
    settings, database = pair.served.settings, pair.served.database
    with replica_of(settings, "", database) as url, caller(url) as client:
        position = write(primary, book.name)
        answer = client.get(f"{book.path}/transactions", params={"min_position": position})
        assert answer.status_code == 200
        refused = client.post("/v1/ledgers", json={"name": "none"})
        assert (refused.status_code, refused.json()["code"]) == (421, "read_only_replica")
        assert "Ledger-Primary" not in refused.headers
    read_only = settings.model_copy(update={"read_only": True}).database
    with read_only.connect("test") as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("DELETE FROM webhooks")


def test_a_revoked_key_ends_once_its_revocation_is_replayed(pair: Pair, primary: httpx2.Client) -> None:
    made = primary.post(
        "/v1/keys", json={"name": "soon revoked", "roles": ["auditor"], "ledgers": ["*"]}
    ).json()
    pair.replayed()
    with caller(pair.refusing, made["key"]) as client:
        eventually(lambda: client.get("/v1/audit/events").status_code == 200)
        with pair.not_replaying():
            assert primary.delete(f"/v1/keys/{made['id']}").status_code == 204
            assert client.get("/v1/audit/events").status_code == 200
        eventually(lambda: client.get("/v1/audit/events").status_code == 401)
    with caller(pair.refusing, None) as stranger:
        assert stranger.get("/v1/keys").status_code == 401

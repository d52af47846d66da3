"""The parts of the outbox that need no I/O: when to send, where to, in which form, with which signature."""

import json
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import UUID

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from projections.outbox.destinations import Policy, host_of, is_public
from projections.outbox.messages import MEDIA_TYPE, message_of
from projections.outbox.schedule import LONGEST_RETRY_AFTER_SECONDS, WAITS, AttemptAnswer, Schedule
from projections.outbox.sending import retry_after
from projections.outbox.signatures import new_secret, signature_headers
from projections.read_models.outbox import Subscriber
from tests.upgrade.record import Form, golden

GOLDEN = golden()
ANYWHERE = Policy(allow_private=True, allow_http=True)
REFUSED = AttemptAnswer(500)


def wait(failures: int, answer: AttemptAnswer = REFUSED, first_wait_seconds: float = 5.0) -> float | None:
    return Schedule(first_wait_seconds).wait_seconds(failures, answer, random.Random(1))


def test_the_waits_are_those_that_standard_webhooks_recommends() -> None:
    recommended = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600]
    assert [5 * times for times in WAITS] == recommended
    for failures, seconds in enumerate(recommended, start=1):
        waited = wait(failures)
        assert waited is not None and seconds * 0.9 <= waited <= seconds * 1.1
    assert wait(len(WAITS) + 1) is None


def test_waits_differ_by_chance_and_grow_with_the_first() -> None:
    chance = random.Random(2)
    waits = {Schedule().wait_seconds(1, REFUSED, chance) for _ in range(100)}
    assert len(waits) > 90 and min(filter(None, waits)) < 4.7 and max(filter(None, waits)) > 5.3
    assert (wait(3, first_wait_seconds=0.001) or 0) < 1


@pytest.mark.parametrize(
    ("asked", "waited"), [(0.0, None), (1.0, None), (3600.0, 3600.0), (1e9, LONGEST_RETRY_AFTER_SECONDS)]
)
def test_a_receiver_can_ask_for_more_time_and_not_for_less(asked: float, waited: float | None) -> None:
    answer = AttemptAnswer(503, retry_after_seconds=asked)
    assert wait(1, answer) == (wait(1) if waited is None else waited)
    assert wait(len(WAITS) + 1, answer) is None


def test_what_a_retry_after_header_can_say() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=90)
    assert retry_after(b"120") == 120
    assert retry_after(b" 7 ") == 7
    assert 80 < (retry_after(format_datetime(soon, usegmt=True).encode()) or 0) <= 90
    assert retry_after(b"Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after(b"9" * 400) == 999_999_999
    for nonsense in (
        b"", b"-1", b"1.5", b"soon", b"\xb2", b"Wed, 99 Oct 2015 07:28:00 GMT", b"Wed, 21 Oct 99999 07:28:00 GMT",
        b"Wed, 21 Oct 2015 07:28:00 +99999999999999", b"Fri, 31 Dec 9999 23:59:59 -9999999", b"1 Jan", b",", b"\0",
        b"Mon, 01 Jan 0000 00:00:00 GMT", b"1" * 5000 + b" Jan 2030 00:00:00", b"inf", b"nan",
    ):  # fmt: skip
        assert retry_after(nonsense) in (None, 0.0), nonsense
    for far in (b"Fri, 31 Dec 9999 23:59:59 -2359", b"Mon, 01 Jan 0001 00:00:00 +2359"):
        assert (retry_after(far) or 0.0) >= 0.0


@given(st.binary(max_size=80) | st.text(alphabet="0123456789:+- ,GMTJanWed", max_size=60).map(str.encode))
def test_no_retry_after_header_is_a_fault(value: bytes) -> None:
    seconds = retry_after(value)
    assert seconds is None or 0.0 <= seconds < float("inf")


def test_success_alone_acknowledges() -> None:
    acknowledged = [status for status in range(100, 600) if AttemptAnswer(status).is_acknowledged]
    assert acknowledged == list(range(200, 300))
    assert not AttemptAnswer(None).is_acknowledged
    assert [status for status in range(100, 600) if AttemptAnswer(status).is_gone] == [410]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "0.0.0.0", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
        "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "localhost", "", "1",
        "::ffff:8.8.8.8", "64:ff9b::808:808", "64:ff9b:1::808:808", "64:ff9b:1:ffff::1", "::8.8.8.8",
        "::ffff:0:808:808", "2002:808:808::1", "fec0::1", "feff::1", "2606:4700::5efe:808:808",
        "2606:4700::200:5efe:a00:1", "2001:0:0808:0808::1", "2001:20::1", "3fff::1", "5f00::1", "100::1",
        "4000::1", "192.88.99.1", "192.0.0.9", "192.0.0.170", "8.8.8.8.8", "08.8.8.8", "fe80::5efe:10.0.0.1",
    ],
)  # fmt: skip
def test_what_is_not_of_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(address)
    assert not Policy().admits(address)
    assert ANYWHERE.admits(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:80b::200e", "2001:4860:4860::8888"],
)
def test_what_is_of_the_public_internet_is_admitted(address: str) -> None:
    assert is_public(address) and Policy().admits(address)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/", "https://"),
        ("ftp://example.com/", "https://"),
        ("//example.com/", "https://"),
        ("file:///etc/passwd", "absolute"),
        ("example.com", "absolute"),
        ("https://", "absolute"),
        ("https:///path", "absolute"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com:0/", "absolute"),
        ("https://example.com:99999/", "absolute"),
        ("https://example.com:port/", "absolute"),
        ("https://[::1/", "absolute"),
        ("https://user:secret@example.com/", "credentials"),
        ("https://user@example.com/", "credentials"),
        ("https://:@example.com/", "credentials"),
        ("https://exa mple.com/", "visible"),
        ("https://example.com/\r\nHost: evil", "visible"),
        ("https://exämple.com/", "visible"),
        ("https://example.com/" + "x" * 2048, "2048"),
        ("https://127.0.0.1/", "private"),
        ("https://[::1]/", "private"),
        ("https://[::ffff:10.0.0.1]:8443/", "private"),
        ("https://[64:ff9b::808:808]/", "public"),
        ("https://[::ffff:8.8.8.8]/", "public"),
        ("https://169.254.169.254/latest/meta-data", "private"),
    ],
)
def test_a_url_that_may_not_be_registered_is_refused_in_words(url: str, words: str) -> None:
    assert words in (Policy().refusal(url) or "")


def test_a_url_that_may_be_registered() -> None:
    for url in (
        "https://example.com",
        "https://example.com:8443/a?b=c",
        "https://8.8.8.8/",
        "HTTPS://Example.com/",
    ):
        assert Policy().refusal(url) is None
    assert Policy(allow_http=True).refusal("http://example.com/") is None
    assert "private" in (Policy(allow_http=True).refusal("http://127.0.0.1/") or "")
    assert ANYWHERE.refusal("http://127.0.0.1:8080/") is None
    assert "credentials" in (ANYWHERE.refusal("http://a:b@127.0.0.1/") or "")
    assert Policy().refusal_of_addresses(["8.8.8.8", "10.0.0.1"]) is not None


def test_the_port_of_a_url_follows_from_its_scheme() -> None:
    assert host_of("https://example.com/x") == ("example.com", 443)
    assert host_of("http://example.com/x") == ("example.com", 80)
    assert host_of("https://[2606:4700::1111]:8443/") == ("2606:4700::1111", 8443)


def test_what_a_subscriber_is_owed() -> None:
    some = Subscriber(UUID(int=1), frozenset({"main"}), frozenset({"transaction.posted"}), 5, 9)
    every = Subscriber(UUID(int=2), frozenset("*"), frozenset("*"), 5, None)
    assert [p for p in range(1, 20) if some.is_owed(p, "main", "transaction.posted")] == [6, 7, 8, 9]
    assert [p for p in range(1, 20) if every.is_owed(p, "any", "of.all")] == list(range(6, 20))
    assert not some.is_owed(6, "other", "transaction.posted")
    assert not some.is_owed(6, "main", "transaction.held")


@pytest.mark.parametrize("form", [form for form in GOLDEN if form.class_version is not None], ids=str)
def test_every_event_of_every_release_is_a_cloud_event(form: Form) -> None:
    stream = "main/accounts/users:alice:wallet"
    row = (stream, 3, form.topic, GOLDEN[form], 21)
    message = message_of(row, "https://ledger.example")
    assert message_of(row, "https://ledger.example") == message
    event = from_http_event(HTTPMessage({"content-type": MEDIA_TYPE}, message.body))
    assert (event.get_id(), event.get_type()) == ("main/21", form.topic)
    assert event.get_source() == "https://ledger.example/v1/ledgers/main"
    assert event.get_subject() == "accounts/users:alice:wallet"
    assert event.get_extension("partitionkey") == stream
    stored, told = json.loads(GOLDEN[form]), json.loads(message.body)["data"]
    assert told["payload"] == stored["data"] and told["schema_version"] == form.class_version
    for name in ("recorded_at", "actor", "correlation_id", "causation_id", "idempotency_key"):
        assert told[name] == stored[name]
    assert message.headers["Correlation-Id"] == stored["correlation_id"]
    assert message.headers.get("traceparent") == stored["traceparent"]


def test_another_event_at_the_same_position_is_another_message_for_nats() -> None:
    """After a restore, the broker must not drop the events that take positions that it was told of."""
    form = next(form for form in GOLDEN if form.class_version is not None)
    told = GOLDEN[form]
    restored = told.replace(b'"recorded_at":"20', b'"recorded_at":"21')
    assert restored != told
    messages = [message_of(("main/ledger", 1, form.topic, state, 21), "") for state in (told, told, restored)]
    assert len({message.broker_id for message in messages}) == 2
    assert {message.broker_id.rpartition("/")[2] for message in messages} == {"21"}


@pytest.mark.parametrize(
    "state", [b"", b"no JSON", b"[]", b"{}", b'{"data": {}}', b"\xff", b'{"actor": "\xff"}']
)
def test_an_event_that_is_none_is_told_in_no_form(state: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        message_of(("main/ledger", 1, "ledger.opened", state, 1), "")


def test_each_secret_signs_what_receivers_verify() -> None:
    secrets = [new_secret(), new_secret()]
    now = datetime.now(UTC)
    headers = signature_headers(secrets, "main/21", now, '{"ö": 1}'.encode())
    assert headers["webhook-id"] == "main/21" and int(headers["webhook-timestamp"]) == int(now.timestamp())
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert Webhook(secret).verify('{"ö": 1}'.encode(), headers) == {"ö": 1}
    for body, secret in ((b'{"o": 1}', secrets[0]), ('{"ö": 1}'.encode(), new_secret())):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers)

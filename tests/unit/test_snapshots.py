"""Snapshots keep the whole state."""

import json
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.journal.snapshots import ACCOUNT_TOPIC, TOPICS, decode_snapshot, encode_snapshot
from domain.model.accounts import Account, AccountOpened, Status
from domain.model.money import MAX_AMOUNT, Direction

AMOUNTS = st.integers(0, MAX_AMOUNT)
LIMITS = st.none() | st.integers(-MAX_AMOUNT, MAX_AMOUNT)
METADATA = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)
ACCOUNTS = st.builds(
    Account,
    ledger=st.text(max_size=8),
    address=st.text(max_size=8),
    asset=st.text(max_size=8),
    normal_side=st.sampled_from(get_args(Direction)),
    status=st.sampled_from(get_args(Status)),
    min_balance=LIMITS,
    max_balance=LIMITS,
    metadata=METADATA,
    posted_debits=AMOUNTS,
    posted_credits=AMOUNTS,
    pending_debits=AMOUNTS,
    pending_credits=AMOUNTS,
    opened_at=st.text(max_size=8),
    opening=st.builds(AccountOpened),
    version=st.integers(1, 2**63 - 1),
    position=st.integers(1, 2**63 - 1),
)


@settings(deadline=None)
@given(ACCOUNTS)
def test_what_is_kept_is_read_back(account: Account) -> None:
    restored = decode_snapshot(encode_snapshot(account))
    assert restored == account
    assert restored.opening == account.opening and isinstance(restored.opening, AccountOpened)
    assert (restored.balance, restored.available) == (account.balance, account.available)


@settings(deadline=None)
@given(ACCOUNTS)
def test_it_is_json_with_every_member_of_the_state(account: Account) -> None:
    assert list(json.loads(encode_snapshot(account))) == list(Account.__struct_fields__)


def test_the_version_of_its_form_is_part_of_its_topic() -> None:
    assert ACCOUNT_TOPIC in TOPICS
    assert ACCOUNT_TOPIC.rpartition(".")[2].isdigit()

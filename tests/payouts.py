"""What tests of payouts send: requests for Alice's payouts through a provider, and the provider's reports."""

import itertools
from typing import Any

from domain.model.errors import InvalidRequest, LedgerError
from domain.model.events import Context
from domain.model.idempotency import Operation, operation_id
from domain.model.payouts.bridges import BRIDGE
from domain.model.payouts.payout import Payout, Source, Verdict
from domain.model.payouts.reports import RecordReport, Report
from domain.model.payouts.requests import RequestPayout
from domain.model.transactions import Description

CONTEXT = Context("alice", "conversation-1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
TOLD = Context("provider:simulator", "conversation-1")
CLEARING = "providers:simulator:USD"
PATIENCE_SECONDS = 20.0
UNKNOWN_PROVIDER = InvalidRequest("/provider", "there is no provider of this name")


def a_request(
    key: str = "payout",
    amount: int = 40,
    account: str = "alice",
    *,
    fingerprint: str = "fingerprint-1",
    provider: str = "simulator",
    objection: LedgerError | None = None,
    destination: dict[str, Any] | None = None,
) -> RequestPayout:
    """A keyed request for a payout."""
    operation = Operation(key, operation_id("main", key), fingerprint)
    return RequestPayout(
        CONTEXT,
        "main",
        operation,
        Description(reference="withdrawal", metadata={"till": "7"}),
        account,
        amount,
        provider,
        {"iban": "1"} if destination is None else destination,
        objection,
    )


def bridge_request(
    ledger: str, key: str, amount: int, account: str, other: str, to: str, reference: str = "rent"
) -> RequestPayout:
    """A keyed request for a bridge to an account of another ledger."""
    return RequestPayout(
        CONTEXT,
        ledger,
        Operation(key, operation_id(ledger, key), f"{account} {amount} {other} {to}"),
        Description(reference=reference),
        account,
        amount,
        BRIDGE,
        {"ledger": other, "account": to},
        objection=None,
    )


_marks = itertools.count(1)


def a_mark() -> str:
    """A value that tells one request about a payout from all others."""
    return f"mark-{next(_marks)}"


def a_report(
    payout: Payout,
    verdict: Verdict,
    source: Source = "callback",
    message_id: str | None = None,
    *,
    amount: int | None = None,
    asset: str | None = None,
) -> RecordReport:
    """The provider's report about a payout as it was at some time."""
    report = Report(verdict, amount, asset, "words", "tx-1")
    return RecordReport(TOLD, payout, a_mark(), source, report, message_id)

"""The console's pages that the benchmark asks for, by workload: their addresses, with names that are drawn anew."""

from collections.abc import Mapping

from scripts.bench.workloads.transfers import BOOK

_LEDGER = f"/console/ledgers/{BOOK}"
_ACCOUNT = f"{_LEDGER}/accounts/{{account}}"

PAGES: Mapping[str, str] = {
    "page-now": "/console",
    "page-stuck": "/console/stuck",
    "page-projections": "/console/projections",
    "page-projection": "/console/projections/transactions",
    "page-dead-letters": "/console/dead-letters",
    "page-webhooks": "/console/webhooks",
    "page-keys": "/console/keys",
    "page-key-trail": "/console/audit/events",
    "page-denied": "/console/keys/denied",
    "page-audit": "/console/audit",
    "page-open": "/console/open?q={transaction}",
    "page-ledgers": "/console/ledgers",
    "page-ledger": _LEDGER,
    "page-events": f"{_LEDGER}/events",
    "page-events-of-a-type": f"{_LEDGER}/events?type=account.opened",
    "page-event": f"{_LEDGER}/events/{{position}}",
    "page-payouts": f"{_LEDGER}/payouts",
    "page-accounts": f"{_LEDGER}/accounts",
    "page-account": _ACCOUNT,
    "page-account-at-a-position": f"{_ACCOUNT}?at_position={{position}}",
    "page-truth": f"{_ACCOUNT}/truth",
    "page-account-of-many-entries": f"{_LEDGER}/accounts/{{longest}}",
    "page-account-of-many-entries-before": f"{_LEDGER}/accounts/{{longest}}?at_position={{position}}",
    "page-transactions": f"{_LEDGER}/transactions",
    "page-transaction": f"{_LEDGER}/transactions/{{transaction}}",
    "page-story": f"{_LEDGER}/operations/{{key}}",
    "page-balances": f"{_LEDGER}/balances",
    "page-trial-balance": f"{_LEDGER}/trial-balance",
    "page-difference": f"{_LEDGER}/balances/difference?first={{position}}",
}

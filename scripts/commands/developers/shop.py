"""The small shop of `tallystick demo`: its accounts and a week of its business, as requests. Pure: it sends nothing.

Keys, amounts and words are fixed, and times follow from the week's first day. So a second run sends the same requests.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from domain.model.idempotency import operation_id

ASSET = "USD/2"
DAYS, ORDERS_A_DAY = 7, 4
PAYOUTS: Mapping[str, int] = {
    "completed": 12_000,
    "failed": 4_500,
    "submitted": 7_300,
    "in_doubt": 9_900,
    "stuck": 2_500,
}
"""The amount of each payout by the state that the simulator brings it to."""

TOLD = ("transaction.posted", "transaction.hold_settled", "payout.completed", "payout.failed")
"""The types of events that the shop's webhooks are told of."""

_BANK, _SALES, _TAX = "bank:checking", "shop:sales", "shop:tax"
_PURCHASES, _SUPPLIER = "shop:purchases", "suppliers:paper"
_CUSTOMERS = {"ada": 20_000, "ben": 8_000, "cleo": 5_000, "dora": 1_000}
_TAX_PERCENT = 19


class Step(NamedTuple):
    """A request to the ledger; its path follows the ledger's. A step that is `refused` is answered with 409."""

    kind: str
    path: str
    body: Mapping[str, Any]
    key: str | None = None
    method: str = "POST"
    refused: bool = False


def steps(ledger: str, first: date) -> Iterator[Step]:
    """Yield every request to the shop's ledger, in order, without the payouts. `first` is the week's first day."""
    yield from _accounts()
    yield from _week(first)
    yield from _holds(ledger)
    yield from _refunds(ledger)
    yield from _changes_of_accounts()


def payouts() -> Iterator[Step]:
    """Yield the requests for payouts to the supplier, one for each state of `PAYOUTS`."""
    for state, amount in PAYOUTS.items():
        body = {
            "account": _SUPPLIER,
            "amount": amount,
            "provider": "simulator",
            "destination": {"iban": "DE02120300000000202051", "simulate": state},
            "reference": f"invoice 77, {state}",
        }
        yield Step("payout", "payouts", body, f"payout-{state}")


def _accounts() -> Iterator[Step]:
    for address in (_BANK, _PURCHASES):
        yield _account(address, "debit")
    for address in (_SALES, _TAX, _SUPPLIER):
        yield _account(address, "credit")
    for name in _CUSTOMERS:
        yield _account(f"customers:{name}", "credit", min_balance=0, metadata={"name": name.title()})


def _week(first: date) -> Iterator[Step]:
    """Yield deposits, orders paid by bank on each day, and a supplier's invoice."""
    for name, amount in _CUSTOMERS.items():
        yield _posting(f"deposit-{name}", (_BANK, f"customers:{name}", amount), effective_at=_at(first, 8))
    for number in range(DAYS * ORDERS_A_DAY):
        gross = 1_250 + 375 * (5 * number % 11)
        yield _sale(1_001 + number, gross, _at(first + timedelta(number // ORDERS_A_DAY), 9 + number % 4 * 2))
    invoiced = _at(first + timedelta(2), 10)
    yield _posting(
        "invoice-77", (_PURCHASES, _SUPPLIER, 60_000), effective_at=invoiced, reference="invoice 77"
    )


def _holds(ledger: str) -> Iterator[Step]:
    """Yield three holds, one settled in part, one voided, one left pending, and a purchase that is refused."""
    for name, amount in (("ada", 4_000), ("ben", 1_500), ("cleo", 900)):
        transfer = (f"customers:{name}", _SALES, amount)
        yield _posting(
            f"basket-{name}", transfer, "hold", pending=True, reference=f"basket of {name.title()}"
        )
    yield _on(ledger, "basket-ada", "settle", "settlement", {"amount": 2_750})
    yield _on(ledger, "basket-ben", "void", "void", {"description": "the basket was abandoned"})
    yield _posting("basket-too-large", ("customers:ada", _SALES, 999_900), "refusal")._replace(refused=True)


def _refunds(ledger: str) -> Iterator[Step]:
    """Yield purchases from wallets, and what is refunded: a whole order, and part of a purchase."""
    yield _posting("purchase-ben", ("customers:ben", _SALES, 3_200), reference="purchase of Ben")
    yield _posting("purchase-dora", ("customers:dora", _SALES, 1_000), reference="purchase of Dora")
    yield _on(ledger, "order-1003", "reverse", "refund", {"description": "the customer sent it back"})
    part = {"amount": 800, "description": "one of four cups was broken"}
    yield _on(ledger, "purchase-ben", "reverse", "refund", part)


def _changes_of_accounts() -> Iterator[Step]:
    """Yield a changed limit, a frozen account and a closed one. Repeating them records nothing."""
    limit = {"min_balance": -5_000}
    yield Step("change of a limit", "accounts/customers:ben", limit, method="PATCH")
    reason = {"reason": "the card was reported stolen"}
    yield Step("frozen account", "accounts/customers:cleo/freeze", reason)
    yield Step("closed account", "accounts/customers:dora/close", {"reason": "the customer asked for it"})


def _account(address: str, side: str, **more: Any) -> Step:
    return Step("account", "accounts", {"address": address, "asset": ASSET, "normal_side": side, **more})


def _sale(number: int, gross: int, effective_at: str) -> Step:
    tax = gross * _TAX_PERCENT // (100 + _TAX_PERCENT)
    entries = [
        _entry(_BANK, "debit", gross),
        _entry(_SALES, "credit", gross - tax),
        _entry(_TAX, "credit", tax),
    ]
    return _transaction(f"order-{number}", entries, effective_at=effective_at, reference=f"order {number}")


def _posting(key: str, transfer: tuple[str, str, int], kind: str = "posting", **more: Any) -> Step:
    """Return the posting of an amount from the account debited to the account credited."""
    debited, credited, amount = transfer
    entries = [_entry(debited, "debit", amount), _entry(credited, "credit", amount)]
    return _transaction(key, entries, kind, **more)


def _transaction(key: str, entries: list[dict[str, Any]], kind: str = "posting", **more: Any) -> Step:
    return Step(kind, "transactions", {"entries": entries, **more}, key)


def _on(ledger: str, key: str, action: str, kind: str, body: Mapping[str, Any]) -> Step:
    """Return a request on the transaction that an earlier key made."""
    return Step(kind, f"transactions/{operation_id(ledger, key)}/{action}", body, f"{action}-{key}")


def _entry(account: str, direction: str, amount: int) -> dict[str, Any]:
    return {"account": account, "direction": direction, "amount": amount}


def _at(day: date, hour: int) -> str:
    return f"{day.isoformat()}T{hour:02}:00:00Z"

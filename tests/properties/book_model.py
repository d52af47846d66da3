"""A model of api/README.md, written without the ledger's code: plain integers and dictionaries.

It has no events and folds nothing. A request changes what is shown, or is refused. Pending amounts are not kept but
summed over the pending holds. The model is slow, and easy to compare with api/README.md line by line.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.properties.requests import (
    Change,
    Complete,
    Expire,
    Keyed,
    Leg,
    Open,
    OpenBook,
    Post,
    Request,
    Reverse,
    SetStatus,
    Settle,
    Void,
    same_request,
)

LARGEST = 9007199254740991

# The rules, in the order of the table in api/README.md, Problems.
RULES = [
    *("ledger_exists", "account_exists", "asset_scale_conflict"),
    *("hold_expired", "hold_not_pending", "not_reversible"),
    *("account_closed", "account_frozen", "account_not_empty"),
    *("amount_exceeds_hold", "amount_exceeds_reversible"),
    *("amount_overflow", "insufficient_funds", "balance_limit_exceeded"),
]

AMOUNTS = RULES[-3:]

Shown = dict[str, Any]
"""What a read of a ledger, account or transaction shows. Replaced on change, never modified."""


class Refused(Exception):
    """The request is refused, and nothing of it is kept."""

    def __init__(self, code: str) -> None:
        self.code = code


@dataclass(frozen=True)
class Answer:
    """The answer to a request: a refusal that leaves nothing behind, or what is shown.

    `touched` are the things whose journal gained an event, in order, the request's own last.
    """

    code: str | None = None
    shown: Shown | None = None
    touched: tuple[str, ...] = ()
    replayed: bool = False

    @property
    def is_refused(self) -> bool:
        return self.code is not None or bool(self.shown and self.shown.get("rejection"))


class Model:
    """Every ledger of an installation: what each thing shows, and the first answer to each key."""

    def __init__(self) -> None:
        self.head = 0
        self.books: dict[str, Shown] = {}
        self.scales: dict[tuple[str, str], str] = {}
        self.accounts: dict[tuple[str, str], Shown] = {}
        self.made: dict[tuple[str, str], Shown] = {}
        self.first: dict[tuple[str, str], tuple[str, Shown]] = {}

    # Submissions.

    def submit(
        self, requests: Sequence[Request], now: int, all_or_none: bool = False, dry_run: bool = False
    ) -> tuple[list[Answer], int | None]:
        """Return an answer for each request. If an all-or-none one failed, also the index of the first failure."""
        before = {name: value if name == "head" else dict(value) for name, value in vars(self).items()}
        answers: list[Answer] = []
        failed = None
        for request in requests:
            answers.append(self.ask(request, now))
            if all_or_none and answers[-1].is_refused:
                failed = len(answers) - 1
                break
        if dry_run or failed is not None:
            vars(self).update(before)
        return answers, failed

    def ask(self, request: Request, now: int) -> Answer:
        """Return the answer to one request."""
        try:
            match request:
                case OpenBook():
                    return self._open_book(request)
                case Open():
                    return self._open(request)
                case Change():
                    return self._change(request)
                case SetStatus():
                    return self._set_status(request)
                case Complete():
                    return self._complete(request, now)
                case Expire():
                    return self._expire(request, now)
            return self._keyed(request, now)
        except Refused as refusal:
            return Answer(refusal.code)

    # Ledgers and accounts.

    def _open_book(self, request: OpenBook) -> Answer:
        known = self.books.get(request.book)
        if known is None:
            self.books[request.book] = {"notes": request.notes, "version": 0, "position": 0}
            return self._touch(f"{request.book}/ledger")
        if known["notes"] != request.notes:
            raise Refused("ledger_exists")
        return Answer(shown=known)

    def _open(self, request: Open) -> Answer:
        self._require_book(request.book)
        place = request.book, request.address
        if place in self.accounts:
            if self.accounts[place]["opening"] != request:
                raise Refused("account_exists")
            return Answer(shown=self.account(*place))
        code, scale = request.asset.split("/")
        touched = [] if (request.book, code) in self.scales else [f"{request.book}/ledger"]
        if self.scales.setdefault((request.book, code), scale) != scale:
            raise Refused("asset_scale_conflict")
        self.accounts[place] = {
            "opening": request,
            "status": "open",
            "floor": request.floor,
            "ceiling": request.ceiling,
            "notes": request.notes,
            "debit": 0,
            "credit": 0,
            "version": 0,
            "position": 0,
        }
        return self._touch(*touched, "{}/accounts/{}".format(*place))

    def _change(self, request: Change) -> Answer:
        changes = request.changes
        account = self._existing_account(request.book, request.address, request.version)
        changed = {**account, **changes}
        if None not in (changed["floor"], changed["ceiling"]) and changed["floor"] > changed["ceiling"]:
            raise Refused("invalid_request")
        if account["status"] == "closed":
            raise Refused("account_closed")
        self.accounts[request.book, request.address] = changed
        limits = (account["floor"], account["ceiling"]) != (changed["floor"], changed["ceiling"])
        # An account can change in two ways at once, each with its own event.
        events = limits + (account["notes"] != changed["notes"])
        if not events:
            return Answer(shown=self.account(request.book, request.address))
        return self._touch(*[f"{request.book}/accounts/{request.address}"] * events)

    def _set_status(self, request: SetStatus) -> Answer:
        account = self._existing_account(request.book, request.address, request.version)
        if account["status"] == request.status:
            return Answer(shown=self.account(request.book, request.address))
        if account["status"] == "closed":
            raise Refused("account_closed")
        shown = self.account(request.book, request.address)
        if request.status == "closed" and (shown["balance"] or any(shown["pending"])):
            raise Refused("account_not_empty")
        self.accounts[request.book, request.address] = {**account, "status": request.status}
        return self._touch(f"{request.book}/accounts/{request.address}")

    def account(self, book: str, address: str) -> Shown:
        """What a read of an account shows."""
        account = self.accounts[book, address]
        opening: Open = account["opening"]
        debits, credits = account["debit"], account["credit"]
        pending = self._pending(book, address)
        balance = credits - debits if opening.side == "credit" else debits - credits
        return {
            "book": book,
            "address": address,
            "asset": opening.asset,
            "side": opening.side,
            "posted": (debits, credits),
            "pending": pending,
            "balance": balance,
            "available": balance - pending[opening.side == "debit"],
            **{
                name: account[name] for name in ("status", "floor", "ceiling", "notes", "version", "position")
            },
        }

    def _pending(self, book: str, address: str) -> tuple[int, int]:
        pending = {"debit": 0, "credit": 0}
        for (in_book, _), made in self.made.items():
            if in_book == book and made["status"] == "pending":
                for of, direction, amount in made["legs"]:
                    pending[direction] += amount if of == address else 0
        return pending["debit"], pending["credit"]

    # Keyed requests.

    def _keyed(self, request: Keyed, now: int) -> Answer:
        self._require_book(request.book)
        place = request.book, request.key
        if place in self.first:
            same, shown = self.first[place]
            if same != same_request(request):
                raise Refused("idempotency_key_reused")
            return Answer(shown=shown, replayed=True)
        answer = self._first(request, now)
        assert answer.shown is not None
        self.first[place] = same_request(request), answer.shown
        return answer

    def _first(self, request: Keyed, now: int) -> Answer:
        match request:
            case Post():
                return self._accept(request, now) if request.later else self._post(request, now)
            case Settle():
                return self._settle(request, now)
            case Void():
                return self._void(request, now)
            case Reverse():
                return self._reverse(request, now)

    def _post(self, request: Post, now: int) -> Answer:
        if request.expires is not None and request.expires <= now:
            raise Refused("invalid_request")
        return self._carry_out(request, now)

    def _carry_out(self, request: Post, now: int) -> Answer:
        self._require_balance(request.book, request.legs)
        return self._make(
            request.book,
            request.key,
            "hold" if request.pending else "posting",
            request.legs,
            now,
            self._broken(request.book, request.legs, held=request.pending),
            moves=request.legs,
            effective=now if request.effective is None else request.effective,
            expires=request.expires,
            reference=request.reference,
        )

    def _accept(self, request: Post, now: int) -> Answer:
        if request.expires is not None and request.expires <= now:
            raise Refused("invalid_request")
        self._require_balance(request.book, request.legs)
        return self._touch(f"{request.book}/transactions/{request.key}")

    def _complete(self, request: Complete, now: int) -> Answer:
        asked = request.request
        place = asked.book, asked.key
        if place in self.made:
            return Answer(shown=self.made[place])
        if asked.expires is not None and asked.expires <= now:
            effective = now if asked.effective is None else asked.effective
            answer = self._make(
                *place, "hold" if asked.pending else "posting", asked.legs, now, {"hold_expired"},
                effective=effective, expires=asked.expires, reference=asked.reference,
            )  # fmt: skip
        else:
            answer = self._carry_out(asked, now)
        assert answer.shown is not None
        self.first[place] = self.first[place][0], answer.shown
        return answer

    def _settle(self, request: Settle, now: int) -> Answer:
        hold = self._existing_transaction(request.book, request.named)
        parts = hold["legs"] if request.legs is None else request.legs
        if request.amount is not None:
            parts = self._with_amount(hold["legs"], request.amount)
        if any((address, side) not in {leg[:2] for leg in hold["legs"]} for address, side, _ in parts):
            raise Refused("invalid_request")
        self._require_balance(request.book, parts)
        broken = self._hold_broken(hold, now) | self._shut(request.book, hold["legs"])
        left = _sums(hold["legs"])
        left.subtract(_sums(parts))
        if min(left.values()) < 0:
            broken.add("amount_exceeds_hold")
        if not broken:
            self._change_made(request.book, request.named, status="settled", settled_by=request.key)
        return self._make(
            request.book, request.key, "settlement", parts, now, broken,
            moves=parts, concerned=hold["legs"], named=request.named, settles=request.named,
        )  # fmt: skip

    def _void(self, request: Void, now: int) -> Answer:
        hold = self._existing_transaction(request.book, request.named)
        broken = self._hold_broken(hold, now)
        if not broken:
            self._change_made(request.book, request.named, status="voided", voided_by=request.key)
        return self._make(
            request.book, request.key, "void", hold["legs"], now, broken,
            concerned=hold["legs"], named=request.named, voids=request.named,
        )  # fmt: skip

    def _expire(self, request: Expire, now: int) -> Answer:
        hold = self._existing_transaction(request.book, request.named)
        if hold["status"] != "pending" or hold["expires"] is None or hold["expires"] > now:
            return Answer(shown=hold)
        self._change_made(request.book, request.named, status="expired")
        return self._touch(*_streams(request.book, hold["legs"], request.named))

    def _reverse(self, request: Reverse, now: int) -> Answer:
        original = self._existing_transaction(request.book, request.named)
        mirror = tuple(
            (address, "credit" if side == "debit" else "debit", amount)
            for address, side, amount in original["legs"]
        )
        reversals = [self.made[request.book, key]["legs"] for key in original["reversed_by"]]
        remaining = _debits(mirror) - sum(map(_debits, reversals))
        legs = mirror
        if request.amount is not None:
            legs = self._with_amount(mirror, request.amount)
        elif len(mirror) == 2 and remaining:
            legs = self._with_amount(mirror, remaining)
        broken = self._broken(request.book, legs)
        if original["kind"] not in ("posting", "settlement") or original["rejection"] or not remaining:
            broken.add("not_reversible")
        elif _debits(legs) > remaining:
            broken.add("amount_exceeds_reversible")
        if not broken:
            by = (*original["reversed_by"], request.key)
            self._change_made(request.book, request.named, reversed_by=by)
        return self._make(
            request.book, request.key, "reversal", legs, now, broken,
            moves=legs, concerned=legs, named=request.named, reverses=request.named,
            effective=now if request.effective is None else request.effective,
        )  # fmt: skip

    # Making, changing and counting.

    def _make(
        self,
        book: str,
        key: str,
        kind: str,
        legs: Sequence[Leg],
        now: int,
        broken: set[str],
        moves: Sequence[Leg] = (),
        concerned: Sequence[Leg] | None = None,
        named: str | None = None,
        effective: int | None = None,
        **shown: Any,
    ) -> Answer:
        """Make a transaction, or its record as rejected. `concerned` are the accounts of `named` that it changes."""
        rejection = min(broken, key=RULES.index, default=None)
        about = self._named(book, rejection, legs, held=kind == "hold") if rejection in AMOUNTS else None
        status = "rejected" if rejection else "pending" if kind == "hold" else "posted"
        after = self._move(book, moves) if status == "posted" else None
        self.made[book, key] = {
            "key": key,
            "kind": kind,
            "status": status,
            "legs": tuple(legs),
            "after": after or None,
            "recorded": now,
            "effective": now if effective is None else effective,
            "expires": None,
            "reference": "",
            "rejection": rejection,
            "about": about,
            **dict.fromkeys(("settles", "voids", "reverses", "settled_by", "voided_by")),
            "reversed_by": (),
            "version": int((book, key) in self.first),  # 1 only if it was accepted before
            "position": 0,
            **shown,
        }
        own = f"{book}/transactions/{key}"
        if rejection:
            return self._touch(own)
        return self._touch(*_streams(book, legs if concerned is None else concerned, named), own)

    def _move(self, book: str, legs: Sequence[Leg]) -> tuple[int, ...]:
        """Post entries. Return the balance of its account after each."""
        after = []
        for address, side, amount in legs:
            account = self.accounts[book, address]
            self.accounts[book, address] = {**account, side: account[side] + amount}
            after.append(self.account(book, address)["balance"])
        return tuple(after)

    def _change_made(self, book: str, key: str, **changes: Any) -> None:
        self.made[book, key] = {**self.made[book, key], **changes}

    def _touch(self, *streams: str) -> Answer:
        """Count one event for each. The answer shows the last of them."""
        shown: Shown = {}
        for stream in streams:
            self.head += 1
            book, _, name = stream.partition("/")
            kind, _, name = name.partition("/")
            shown = self._count(kind, book, name)
        return Answer(shown=shown, touched=streams)

    def _count(self, kind: str, book: str, name: str) -> Shown:
        if kind == "ledger":
            self.books[book] = shown = self._counted(self.books[book])
        elif kind == "accounts":
            self.accounts[book, name] = self._counted(self.accounts[book, name])
            shown = self.account(book, name)
        elif (book, name) in self.made:
            self.made[book, name] = shown = self._counted(self.made[book, name])
        else:
            shown = {"key": name, "status": "accepted", "version": 1, "position": self.head}
        return shown

    def _counted(self, known: Shown) -> Shown:
        return {**known, "version": known["version"] + 1, "position": self.head}

    # Preconditions, and the rules.

    def _require_book(self, book: str) -> None:
        if book not in self.books:
            raise Refused("ledger_not_found")

    def _existing_account(self, book: str, address: str, version: int | None) -> Shown:
        self._require_book(book)
        if (book, address) not in self.accounts:
            raise Refused("account_not_found")
        account = self.accounts[book, address]
        if version is not None and version != account["version"]:
            raise Refused("version_mismatch")
        return account

    def _existing_transaction(self, book: str, key: str) -> Shown:
        if (book, key) not in self.made:
            raise Refused("transaction_not_found")
        return self.made[book, key]

    def _require_balance(self, book: str, legs: Sequence[Leg]) -> None:
        imbalance: Counter[str] = Counter()
        for address, side, amount in legs:
            if (book, address) not in self.accounts:
                raise Refused("account_not_found")
            asset = self.accounts[book, address]["opening"].asset
            imbalance[asset] += amount if side == "debit" else -amount
        if any(imbalance.values()):
            raise Refused("unbalanced_transaction")

    @staticmethod
    def _with_amount(legs: Sequence[Leg], amount: int) -> tuple[Leg, ...]:
        if len(legs) != 2:
            raise Refused("invalid_request")
        return tuple((address, side, amount) for address, side, _ in legs)

    @staticmethod
    def _hold_broken(hold: Shown, now: int) -> set[str]:
        if hold["status"] == "expired":
            return {"hold_expired"}
        if hold["status"] != "pending":
            return {"hold_not_pending"}
        return {"hold_expired"} if hold["expires"] is not None and hold["expires"] <= now else set()

    def _shut(self, book: str, legs: Sequence[Leg]) -> set[str]:
        statuses = {self.accounts[book, address]["status"] for address, _, _ in legs}
        return {f"account_{status}" for status in statuses - {"open"}}

    def _broken(self, book: str, legs: Sequence[Leg], held: bool = False) -> set[str]:
        """Every rule that posting or holding these entries would break."""
        broken = self._shut(book, legs)
        for address in {address for address, _, _ in legs}:
            new = _sums(leg for leg in legs if leg[0] == address)
            broken |= self._limits_broken(
                self.account(book, address), new[address, "debit"], new[address, "credit"], held
            )
        return broken

    def _named(self, book: str, rule: str | None, legs: Sequence[Leg], held: bool) -> Shown:
        """What the refusal of an amount names: the first of all entries of an account and side that break the rule."""
        for number, (address, side, _) in enumerate(legs):
            account = self.account(book, address)
            new = _sums(leg for leg in legs if leg[0] == address)
            debits, credits = new[address, "debit"], new[address, "credit"]
            ins, outs = (credits, debits) if account["side"] == "credit" else (debits, credits)
            fall, rise = (outs, ins) if held else (outs - ins, ins - outs)
            pending_in = account["pending"][account["side"] == "credit"]
            named = {"pointer": f"/entries/{number}", "account": address, "asset": account["asset"]}
            at = side == "credit"
            total = account["posted"][at] + account["pending"][at]
            broken = self._limits_broken(account, debits, credits, held)
            match rule:
                case "amount_overflow" if total + new[address, side] > LARGEST:
                    named |= {"direction": side, "total": total, "max_total": LARGEST}
                    excess = total + new[address, side] - LARGEST
                    return named | _exact(requested=new[address, side], excess=excess)
                case "insufficient_funds" if rule in broken and side != account["side"]:
                    floor, available = account["floor"], account["available"]
                    named |= {"available": available, "min_balance": floor}
                    return named | _exact(requested=fall, shortfall=fall - (available - floor))
                case "balance_limit_exceeded" if rule in broken and side == account["side"]:
                    balance, ceiling = account["balance"], account["ceiling"]
                    named |= {"balance": balance, "pending_inflow": pending_in, "max_balance": ceiling}
                    return named | _exact(requested=rise, excess=balance + pending_in + rise - ceiling)
        raise AssertionError(rule)

    @staticmethod
    def _limits_broken(account: Shown, debits: int, credits: int, held: bool) -> set[str]:
        broken = set()
        totals = zip(account["posted"], account["pending"], (debits, credits), strict=True)
        if max(map(sum, totals)) > LARGEST:
            broken.add("amount_overflow")
        ins, outs = (credits, debits) if account["side"] == "credit" else (debits, credits)
        # A posting is judged by its net change. A hold is judged by all it may let out and all it may let in.
        fall, rise = (outs, ins) if held else (outs - ins, ins - outs)
        pending_in = account["pending"][account["side"] == "credit"]
        floor, ceiling = account["floor"], account["ceiling"]
        if floor is not None and fall > 0 and account["available"] - fall < floor:
            broken.add("insufficient_funds")
        if ceiling is not None and rise > 0 and account["balance"] + pending_in + rise > ceiling:
            broken.add("balance_limit_exceeded")
        return broken


def _exact(**amounts: int) -> Shown:
    """Amounts, without those that some clients cannot represent exactly."""
    return {name: amount for name, amount in amounts.items() if abs(amount) <= LARGEST}


def _sums(legs: Any) -> Counter[tuple[str, str]]:
    sums: Counter[tuple[str, str]] = Counter()
    for address, side, amount in legs:
        sums[address, side] += amount
    return sums


def _debits(legs: Sequence[Leg]) -> int:
    return sum(amount for _, side, amount in legs if side == "debit")


def _streams(book: str, legs: Sequence[Leg], named: str | None) -> list[str]:
    """The accounts of the entries, each once, and the transaction if one is named."""
    accounts = [f"{book}/accounts/{address}" for address in dict.fromkeys(address for address, _, _ in legs)]
    return accounts + ([f"{book}/transactions/{named}"] if named is not None else [])

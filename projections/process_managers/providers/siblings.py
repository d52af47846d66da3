"""The ledgers that a bridge can lead to, each with the application that holds it: of this installation or of another.

An installation that does not answer must not take every thread that calls ledgers. While it is silent, one call at a
time tries it, and the others are told at once that it does not answer.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from domain.application import LedgerApplication
from domain.model.errors import JournalUnavailable, LedgerMissing, LedgerMoved, LedgerMoving, LedgerNotFound
from domain.placement.holders import Holders
from projections.process_managers.providers.interface import NoAnswer

MOST_MOVES = 10
"""How often a ledger is followed to where it has moved, for one question."""


class Siblings:
    """Finds the application of each ledger. Its methods are called from several threads at once."""

    def __init__(self, holders: Holders) -> None:
        self._holders = holders
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._silent: set[LedgerApplication] = set()
        self._tried: set[LedgerApplication] = set()

    def is_known(self, ledger: str) -> bool:
        """Tell whether a ledger was found to exist before. Ledgers never vanish."""
        return ledger in self._known

    def installation_of(self, ledger: str) -> str | None:
        """Return the installation of a ledger as this process remembers it, None if it does not. Never blocks."""
        return self._holders.name_of(ledger)

    def exists(self, ledger: str) -> bool:
        """Tell whether a ledger exists. Raises a `LedgerError` if that cannot be said now.

        One that moves, or has left the place where it was believed to be, exists.
        """
        application = self._holders.of(ledger)
        for _ in range(MOST_MOVES):
            try:
                application.ledger(ledger)
            except LedgerNotFound:
                if not self._holders.is_placed(ledger):
                    return False
                missing = LedgerMissing(ledger, self._holders.name_of(ledger) or "")
                self._holders.forget(ledger)
                raise missing from None
            except LedgerMoving:
                break
            except LedgerMoved as moved:
                application = self._holders.follow(ledger, moved.details["installation"])
            else:
                break
        self._known.add(ledger)
        return True

    @contextmanager
    def calling(self, ledger: str) -> Iterator[LedgerApplication]:
        """Yield the application of a ledger for one call.

        Raises `JournalUnavailable` if the application cannot be found now, and `NoAnswer` if it did not answer the last
        call, and another call tries it. The call says by `JournalUnavailable` or `TimeoutError` that the application
        does not answer, and by `LedgerMoved` that the ledger has left it: the next call goes where it went.
        """
        application = self._holders.of(ledger)
        self._begin(application)
        is_silent = False
        try:
            yield application
        except LedgerMoved as moved:
            self._holders.follow(ledger, moved.details["installation"])
            raise
        except LedgerNotFound:
            self._holders.forget(ledger)
            raise
        except JournalUnavailable as error:
            is_silent = error.is_of_the_journal
            raise
        except TimeoutError:
            is_silent = True
            raise
        finally:
            self._end(application, is_silent=is_silent)

    def _begin(self, application: LedgerApplication) -> None:
        with self._lock:
            if application in self._tried:
                raise NoAnswer("the other ledger does not answer, and is being tried")
            if application in self._silent:
                self._tried.add(application)

    def _end(self, application: LedgerApplication, *, is_silent: bool) -> None:
        with self._lock:
            self._tried.discard(application)
            self._silent.discard(application)
            if is_silent:
                self._silent.add(application)

"""What tests of payers do: run a payer, and a provider that it reaches."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from domain.application import LedgerApplication
from domain.journal.database import Database
from projections.process_managers.payer import ObserveCall, Payer
from projections.process_managers.providers.http import HttpProvider
from projections.process_managers.providers.interface import Provider
from projections.process_managers.providers.settings import ProviderSettings
from scripts.serving.simulator_beside import listen
from scripts.simulator.callbacks import Callbacks
from scripts.simulator.faults import Faults, Rates
from scripts.simulator.server import Simulator

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@contextmanager
def simulated(rates: Rates = Rates()) -> Iterator[Simulator]:  # noqa: B008 - it cannot be changed
    """A provider without callbacks, so that it must be asked for everything."""
    simulator = Simulator(listen(0), Faults(1, rates), Callbacks(None, SECRET))
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


def reached(simulator: Simulator, **more: Any) -> HttpProvider:
    """The simulator as the payer's provider."""
    # Long for one that answers: how slow the machine is decides nothing.
    settings = {"url": simulator.url, "secret": SECRET, "timeout_seconds": 5.0, **more}
    return HttpProvider(ProviderSettings.model_validate(settings))


@contextmanager
def paying(
    database: Database,
    ledger: LedgerApplication,
    observe: ObserveCall = lambda callee, source, outcome, seconds: None,
    **providers: Provider,
) -> Iterator[Payer]:
    """A payer that runs meanwhile."""
    payer = Payer(database, ledger, providers, observe=observe)
    payer.start()
    try:
        yield payer
    finally:
        payer.stop()
        for provider in providers.values():
            provider.close()

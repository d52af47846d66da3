"""`tallystick simulate-provider`: a payment provider for trials, demos and tests that misbehaves as it is told."""

import signal
import threading
from typing import Annotated

import typer

from scripts.console import fail as give_up
from scripts.serving.simulator_beside import listen, make_secret, providers_setting
from scripts.simulator.callbacks import Callbacks
from scripts.simulator.faults import WORST, Faults, Rates
from scripts.simulator.server import Simulator

Rate = Annotated[float, typer.Option(min=0.0, max=1.0)]


def simulate_provider(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on, on loopback; 0 for any free one")
    ] = 8100,
    callback_url: Annotated[
        str | None,
        typer.Option(
            help="Where to send callbacks, such as http://127.0.0.1:8000/v1/providers/simulator/callbacks [nowhere]"
        ),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(envvar="TALLYSTICK_SIMULATOR_SECRET", help="Secret that signs callbacks [a new one]"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random choices")] = 0,
    worst: Annotated[bool, typer.Option("--worst", help="Misbehave often, in every way")] = False,
    drop_before: Rate = 0.0,
    error_before: Rate = 0.0,
    drop_after: Rate = 0.0,
    error_after: Rate = 0.0,
    stall: Rate = 0.0,
    ask_error: Rate = 0.0,
    fail: Rate = 0.0,
    lie: Rate = 0.0,
    lose: Rate = 0.0,
    duplicate: Rate = 0.0,
    reorder: Rate = 0.0,
    wrong_amount: Rate = 0.0,
    delay_seconds: Annotated[float, typer.Option(min=0.0, help="Longest time a payout takes")] = 0.0,
    stall_seconds: Annotated[float, typer.Option(min=0.0, help="Delay of a stalled answer")] = 30.0,
) -> None:
    """Run a payment provider that pays nobody, until stopped.

    Rates are probabilities from 0 to 1. Submissions can be dropped or answered with an error, before or after they are
    carried out, or answered too late (stall). Payouts can fail, or lie: they are first reported failed and then
    completed. Callbacks can be lost, duplicated or reordered. POST /script decides the outcome for a destination or an
    amount. GET /books shows what was done.
    """
    rates = (
        WORST
        if worst
        else Rates(
            drop_before,
            error_before,
            drop_after,
            error_after,
            stall,
            ask_error,
            fail,
            lie,
            lose,
            duplicate,
            reorder,
            wrong_amount,
            delay_seconds,
            stall_seconds,
        )
    )
    key = secret or make_secret()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        listening = listen(port)
    except OSError as error:
        give_up(f"cannot listen on port {port}: {error.strerror}")
    simulator = Simulator(listening, Faults(seed, rates), Callbacks(callback_url, key))
    simulator.start()
    if secret is None:
        typer.echo(
            "The service knows this provider by\n"
            f"TALLYSTICK_PROVIDERS='{providers_setting(simulator.url, key)}'"
        )
    typer.echo(f"The simulator is ready on {simulator.url}")
    stopped.wait()
    simulator.stop()

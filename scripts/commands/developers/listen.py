"""`tallystick listen`: receives webhooks on loopback and prints them, or sends received ones again."""

import signal
import sys
import threading
from base64 import b64decode
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx2
import typer

from projections.outbox.signatures import signature_headers
from scripts.commands.developers.receiver import Received, Receiver
from scripts.console import fail
from scripts.endings import warn
from scripts.serving.simulator_beside import listen as listen_on
from scripts.table import cell

TIMEOUT_SECONDS = 15.0
SECRET_PREFIX = "whsec_"
_WORDS = {None: "not checked", True: "verified", False: "NOT VERIFIED"}
_OF_CONNECTION = {"host", "content-length", "connection", "transfer-encoding", "accept-encoding"}


def _is_secret(text: str) -> str:
    """Return a webhook's secret; refuse other texts as wrong use."""
    try:
        key = b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not (key and text.startswith(SECRET_PREFIX)):
        raise typer.BadParameter(f"a secret is {SECRET_PREFIX} and base64, as the registration answered it")
    return text


def _is_local(url: str) -> str:
    """Return a URL on this machine; refuse others as wrong use."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_local = parts.port != 0 and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        is_local = False
    if not (is_local and url.startswith("http://")):
        raise typer.BadParameter(f"{url!r} is no local URL such as http://127.0.0.1:3000/hooks")
    return url


def listen(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on loopback; 0 for any free one")] = 9000,
    secret: Annotated[
        str | None,
        typer.Option(
            parser=_is_secret, metavar="SECRET", help="The webhook's secret, to verify signatures with"
        ),
    ] = None,
    status: Annotated[int, typer.Option(min=200, max=599, help="The status to answer with")] = 204,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each webhook")] = False,
    replay: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Send again what --json printed into this file"),
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="How many of the file's last webhooks to send again")] = 1,
    to: Annotated[
        str | None, typer.Option(parser=_is_local, metavar="URL", help="The local URL to send them to")
    ] = None,
) -> None:
    """Receive webhooks on loopback, verify and print them, until stopped. Or send received ones again.

    With a secret, a webhook that it does not verify is answered with 401. What is sent again is signed anew, since
    receivers refuse old signatures; it keeps its id, so that a receiver can tell that it has it already.
    """
    if (replay is None) != (to is None):
        raise typer.BadParameter("--replay and --to need each other", param_hint="--replay")
    if replay is not None and to is not None:
        _send_again(_read(replay)[-last:], to, secret)
    else:
        _receive(port, secret, status, as_json=as_json)


def _receive(port: int, secret: str | None, status: int, *, as_json: bool) -> None:
    stopped, printing = threading.Event(), threading.Lock()

    def take(received: Received) -> None:
        with printing:
            typer.echo(received.to_json() if as_json else _line(received))
            sys.stdout.flush()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        receiver = Receiver(listen_on(port), secret, status, take)
    except OSError as error:
        fail(f"cannot listen on port {port}: {error.strerror}")
    thread = threading.Thread(target=receiver.serve_forever, name="receiver", daemon=True)
    thread.start()
    typer.echo(f"Receiving webhooks on http://127.0.0.1:{receiver.server_address[1]}/", err=True)
    stopped.wait()
    receiver.shutdown()
    thread.join()
    receiver.server_close()


def _line(received: Received) -> str:
    event = received.event
    words = [datetime.now(UTC).strftime("%H:%M:%S"), _WORDS[received.is_verified]]
    words += [str(event.get(name, "-")) for name in ("type", "subject")]
    return "  ".join(cell(word) for word in [*words, received.headers.get("webhook-id", "-")])


def _read(path: Path) -> list[Received]:
    found = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                found.append(Received.from_json(line))
            except ValueError:
                fail(f"{path}: line {number} is no webhook that `tallystick listen --json` printed")
    return found


def _send_again(webhooks: Iterable[Received], to: str, secret: str | None) -> None:
    refused = 0
    with httpx2.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as http:
        for webhook in webhooks:
            headers = {name: value for name, value in webhook.headers.items() if name not in _OF_CONNECTION}
            id = headers.get("webhook-id", "")
            if secret is not None:
                headers |= signature_headers([secret], id, datetime.now(UTC), webhook.body)
            try:
                answer = http.post(to, content=webhook.body, headers=headers)
            except httpx2.TransportError as error:
                fail(f"{to} does not answer ({str(error) or type(error).__name__})")
            refused += not answer.is_success
            typer.echo(f"{answer.status_code}  {cell(id or '-')}")
    if refused:
        warn(f"{refused} were not accepted")

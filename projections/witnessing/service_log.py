"""The log of an installation that somebody else owns, over HTTP: its public address and, if it asks for one, a key."""

import json
from collections.abc import Sequence
from urllib.parse import urlencode

import httpcore2

from domain.transparency.merkle_tree import HASH_BYTES
from domain.transparency.signed_notes import InvalidNote, Verifier
from projections.process_managers.providers.connections import TimedNetwork
from projections.witnessing.judgement import NotWitnessed, Path, Shown
from projections.witnessing.settings import WitnessedSettings

MAX_ANSWER_BYTES = 1024 * 1024
MAX_PATH_LENGTH = 128

_FAULTS = (
    httpcore2.NetworkError,
    httpcore2.TimeoutException,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
)


class ServiceLog:
    """The log of a service at a URL."""

    def __init__(self, name: str, settings: WitnessedSettings) -> None:
        self.name = name
        self.configured: Sequence[Verifier] = (
            [Verifier.parse(settings.verifier_key)] if settings.verifier_key else []
        )
        self._url = str(settings.url).rstrip("/")
        self._timeout_seconds = settings.timeout_seconds
        self._headers = [("User-Agent", "Tallystick")]
        if settings.api_key:
            self._headers.append(("Authorization", f"Bearer {settings.api_key.get_secret_value()}"))
        self._network = TimedNetwork()

    def look(self, size: int) -> tuple[Shown, Path] | None:
        """Return what the service has signed last, with the proof that it gives."""
        try:
            with (
                self._network.call(self._timeout_seconds),
                httpcore2.ConnectionPool(network_backend=self._network) as pool,
            ):
                return self._look(pool, size)
        except _FAULTS as error:
            raise NotWitnessed(f"no answer: {type(error).__name__}") from error

    def _look(self, pool: httpcore2.ConnectionPool, size: int) -> tuple[Shown, Path] | None:
        # First the size: an event that comes in between is seen at the next look.
        own_size = self._own_size(pool)
        note = self._text(pool, "/v1/audit/checkpoint")
        try:
            lines = self._text(pool, "/v1/audit/verifier-key").splitlines()
            verifiers = [Verifier.parse(line) for line in lines if line.strip()]
        except InvalidNote as error:
            raise NotWitnessed(f"its keys: {error}") from error
        shown = Shown(note, verifiers, own_size)
        first, second = sorted((size, shown.checkpoint.size))
        return shown, [] if first in (0, second) else self._path(pool, first, second)

    def _own_size(self, pool: httpcore2.ConnectionPool) -> int | None:
        """Return the newest position of an event other than a record of witnessing. None: the service witnesses none.

        A release that has no such route records nothing of others either.
        """
        status, body = self._ask(pool, "/v1/audit/witnesses")
        if status == 404:
            return None
        if status != 200:
            raise NotWitnessed(f"it answered {status} to GET /v1/audit/witnesses")
        try:
            size = json.loads(body)["own_size"]
        except (ValueError, TypeError, KeyError, RecursionError):
            size = None
        if not isinstance(size, int):
            raise NotWitnessed("it does not say how far its own events go")
        return size

    def _path(self, pool: httpcore2.ConnectionPool, first: int, second: int) -> Path:
        query = urlencode({"from": first, "to": second})
        status, body = self._ask(pool, f"/v1/audit/proofs/consistency?{query}")
        if status == 422:
            return None  # it has not so many events
        if status != 200:
            raise NotWitnessed(f"it answered {status} instead of a proof")
        try:
            path = [bytes.fromhex(node) for node in json.loads(body)["path"]]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise NotWitnessed("its proof is not in the form of a proof") from None
        if len(path) > MAX_PATH_LENGTH or any(len(node) != HASH_BYTES for node in path):
            raise NotWitnessed("its proof is not in the form of a proof")
        return path

    def _text(self, pool: httpcore2.ConnectionPool, path: str) -> str:
        status, body = self._ask(pool, path)
        if status != 200:
            raise NotWitnessed(f"it answered {status} to GET {path}")
        try:
            return body.decode()
        except UnicodeDecodeError:
            raise NotWitnessed(f"its answer to GET {path} is not text") from None

    def _ask(self, pool: httpcore2.ConnectionPool, path: str) -> tuple[int, bytes]:
        with pool.stream("GET", f"{self._url}{path}", headers=self._headers) as response:
            body = bytearray()
            for part in response.iter_stream():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise NotWitnessed(f"its answer to GET {path} is too long")
            return response.status, bytes(body)

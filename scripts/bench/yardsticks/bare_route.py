"""The HTTP yardstick: a FastAPI route that checks the same body with the same model and answers at once.

It has no key, ledger or journal, and its answer is ready bytes, as many as the real answer has. What remains is the
cost of uvicorn, FastAPI and pydantic for such a request.
"""

import json

from fastapi import FastAPI, Response

from api.resources.transactions.schemas import TransactionRequest
from scripts.bench.workloads.transfers import PATH, Transfer, address

_TRANSFER = Transfer("8a6e0804-2bd0-4672-b79d-d97027f9071a-00000001", address(1234), address(5678))
_TIME = "2026-11-23T20:00:00.000000Z"
_RELATED = ("settles", "voids", "reverses", "settled_by", "voided_by")

ANSWER = json.dumps(
    {
        "id": "8a6e0804-2bd0-4672-b79d-d97027f9071a",
        "ledger": "main",
        "kind": "posting",
        "status": "posted",
        **_TRANSFER.body(),
        "description": "",
        "metadata": {},
        "effective_at": _TIME,
        "recorded_at": _TIME,
        "expires_at": None,
        "idempotency_key": _TRANSFER.key,
        "correlation_id": "8a6e0804-2bd0-4672-b79d-d97027f9071a",
        "actor": "bootstrap",
        "related": {**dict.fromkeys(_RELATED), "reversed_by": []},
        "rejection": None,
        "version": 1,
        "position": 123_456,
    },
    separators=(",", ":"),
).encode()


def create_bare_app() -> FastAPI:
    """Return an application with this one route."""
    app = FastAPI(openapi_url=None)

    @app.post(PATH, status_code=201)
    async def post_transaction(body: TransactionRequest) -> Response:
        return Response(ANSWER, 201, media_type="application/json")

    return app

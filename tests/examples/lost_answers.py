"""A network that loses the first answer to every request that writes, after the service has done what it asked."""

import httpx2


class LosingAnswers(httpx2.BaseTransport):
    """Passes every request on, and loses the first answer to each write."""

    def __init__(self) -> None:
        self._network = httpx2.HTTPTransport()
        self._lost: set[tuple[str, str, bytes]] = set()
        self.lost = 0
        """How many answers were lost."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer to a request, or raise `ReadError` after it was carried out."""
        answer = self._network.handle_request(request)
        content = request.headers.get("Idempotency-Key", "").encode() + request.read()
        known = (request.method, str(request.url), content)
        if request.method == "GET" or known in self._lost:
            return answer
        answer.read()
        answer.close()
        self._lost.add(known)
        self.lost += 1
        raise httpx2.ReadError("the answer was lost", request=request)

    def close(self) -> None:
        """Close the connections."""
        self._network.close()

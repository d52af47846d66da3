"""The way of a request: a small ASGI framework; FastAPI writes the document."""

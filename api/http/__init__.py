"""The path of a request: a small ASGI framework of our own. FastAPI only writes the OpenAPI document."""

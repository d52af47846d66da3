"""`tallystick openapi`: the OpenAPI document of this release, as it is or as a Postman collection."""

import json
from typing import Annotated

import typer


def openapi(
    postman: Annotated[
        bool, typer.Option("--postman", help="Print a Postman collection made from the document instead")
    ] = False,
) -> None:
    """Print the OpenAPI document of this release, which a service has at /openapi.json. Needs no service."""
    from api.app import Application
    from scripts.commands.developers.postman import collection

    document = Application().openapi()
    typer.echo(json.dumps(collection(document) if postman else document, indent=2, ensure_ascii=False))

"""`tallystick mcp`: offers a running service to an assistant, by the Model Context Protocol over standard streams."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scripts.commands.developers.service import Url, is_key
from scripts.console import fail

if TYPE_CHECKING:
    from api.mcp.server import Text

INSTALL = "`.venv/bin/pip install -e '.[mcp]'` in the project's folder installs it"


def mcp(
    key: Annotated[
        str,
        typer.Option(
            "--key",
            envvar=["TALLYSTICK_KEY", "TALLYSTICK_BOOTSTRAP_KEY"],
            parser=is_key,
            metavar="KEY",
            help="The API key of the assistant, which may do what the key may: best one of its own, as auditor",
        ),
    ],
    url: Url = "http://127.0.0.1:8000",
    allow_writes: Annotated[
        bool, typer.Option("--allow-writes", help="Carry out changes too, not only reads and dry runs")
    ] = False,
    timeout_seconds: Annotated[
        float,
        typer.Option(min=1, max=600, help="How long a request may take until the answer says that none came"),
    ] = 30.0,
) -> None:
    """Offer a running service to an assistant, by the Model Context Protocol over standard input and output.

    The assistant starts it. Each operation of the API is a tool; reads are carried out, changes only as a dry run
    unless --allow-writes is given. It ends with 0 when the assistant closes its input, and on SIGTERM and SIGINT.
    """
    try:
        from api.mcp.server import Offer, serve
    except ModuleNotFoundError as missing:
        fail(f"the package {missing.name} is missing; {INSTALL}")
    from api.app import Application
    from domain.release import RELEASE

    serve(Offer(Application().openapi(), RELEASE, _texts(), allow_writes), url, key, timeout_seconds)


def _texts() -> "list[Text]":
    """Return the texts that an assistant may read, the rules for it first."""
    from importlib.resources import files

    from api.mcp.server import Text
    from projections.diagnosis.glossary import GLOSSARY

    rules = files("api.resources.installation").joinpath("llms.txt").read_text(encoding="utf-8")
    page = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    runbook = page.split("\n## Runbook\n", 1)[1].split("\n## ", 1)[0]
    terms = "\n".join(
        f"- {thing.replace('_', ' ')} `{state}`: {term.words}. {term.meaning}"
        for (thing, state), term in GLOSSARY.items()
    )
    return [
        Text("rules", "What this is, and the rules for whoever acts here", rules),
        Text("glossary", "What each state of each kind of thing means", f"# Glossary\n\n{terms}\n"),
        Text(
            "runbook",
            "For operators: each symptom, alert and finding, and what to do",
            f"# Runbook\n{runbook}\n",
        ),
    ]

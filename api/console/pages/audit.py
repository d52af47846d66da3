"""Proofs: the signed checkpoints, and whether today's journal is the one that was signed.

The browser checks by the script of these pages, from the API's answers as they are. Without it the server checks.
"""

import asyncio
from typing import Any

from api.console.checking import NotChecked, NotProved, beginning, included, opened
from api.console.formats import grouped
from api.console.inside import Reply
from api.console.view import Raw, Shown, View, page

PAST_SHOWN = 20


@page("/console/audit")
async def show_audit(view: View) -> Shown:
    """Show the newest checkpoint, the keys that sign, past and witnessed checkpoints, and the forms that check."""
    query, on = view.asked("cursor", "from", "to"), {"installation": view.log}
    newest, listed, verifiers, tree, witnesses = await asyncio.gather(
        view.api.get("/audit/checkpoints", order="desc", page_size=1, **on),
        view.api.get("/audit/checkpoints", order="desc", page_size=PAST_SHOWN, **query, **on),
        view.api.get("/audit/verifier-key", **on),
        view.api.get("/projections/seals", **on),
        view.api.get("/audit/witnesses", **on),
    )
    signed = next(iter(newest.content["data"]), None)
    values = {**listed.content, "newest": signed, "verifiers": verifiers.text, "tree": tree.content}
    values["witnessed"] = witnesses.content["logs"]
    title = f"Proofs of {view.log}" if view.log else "Proofs"
    return Shown(title, _sentence(signed, tree.content), values, signed and signed["size"])


def _sentence(signed: dict[str, Any] | None, tree: dict[str, Any]) -> str:
    """Return how far the journal is signed."""
    if tree["state"] == "halted":
        return "Nothing more is signed: what signs has halted, and waits for an operator."
    if signed is None:
        return "Nothing is signed yet."
    words = f"The first {grouped(signed['size'])} events are signed."
    if (rest := tree["head"] - signed["size"]) > 0:
        return f"{words} {grouped(rest)} recorded since {'is' if rest == 1 else 'are'} not signed yet."
    return f"{words} The journal has no others."


@page("/console/audit/checkpoints/{size}", template="checkpoint.html", is_live=False)
async def show_checkpoint(view: View) -> Shown:
    """Show a past checkpoint."""
    found = await view.api.get(view.resource, installation=view.log)
    size = view.names["size"]
    sentence = f"The first {grouped(size)} events were signed on {found.headers['last-modified']}."
    return Shown(f"Checkpoint of {grouped(size)} events", sentence, {"note": found.text, "size": size})


@page("/console/audit/checkpoints/{size}/note")
async def save_checkpoint(view: View) -> Raw:
    """Send the note of a checkpoint as a file, byte for byte."""
    size = view.names["size"]
    found = await view.api.get(f"/audit/checkpoints/{size}", installation=view.log)
    return Raw.of(found, "-".join(filter(None, ("checkpoint", view.log, f"{size}.txt"))))


@page("/console/audit/checkpoint")
@page("/console/audit/verifier-key")
@page("/console/audit/proofs/consistency")
@page("/console/audit/proofs/inclusion")
async def send_evidence(view: View) -> Raw:
    """Send what the script of the pages verifies."""
    return Raw.of(await view.api.look(view.resource, **view.query))


@page("/console/audit/check", template="check.html", is_live=False)
async def show_check(view: View) -> Shown:
    """Check by the server what the form names: a saved note, or an event by its position."""
    note = view.query.get("note", "")
    try:
        facts = await (_check_saved(view, note) if note else _check_event(view))
        tone, sentence = "good", facts[0]
    except NotProved as reason:
        facts, tone, sentence = (str(reason),), "bad", "Refused."
    except NotChecked as reason:
        facts, tone, sentence = (str(reason),), "wait", "Not checked."
    return Shown("Checked by the server", sentence, {"facts": facts, "tone": tone, "note": note})


async def _check_saved(view: View, note: str) -> tuple[str, ...]:
    today, stated = await _today(view)
    vkeys = view.query.get("keys", "").strip() or stated.text
    saved, newest = opened(note, vkeys), opened(today.text, vkeys)
    if saved.size > newest.size:
        raise NotProved(f"It covers {saved.size} events, and today's covers {newest.size}.")
    path = {"from": saved.size, "to": newest.size, "installation": view.log}
    return beginning(saved, newest, _proof(await view.api.look("/audit/proofs/consistency", **path)))


async def _today(view: View) -> tuple[Reply, Reply]:
    """Return the newest checkpoint, and the keys that the service states."""
    return await asyncio.gather(
        view.api.get("/audit/checkpoint", installation=view.log),
        view.api.get("/audit/verifier-key", installation=view.log),
    )


async def _check_event(view: View) -> tuple[str, ...]:
    today, stated = await _today(view)
    newest = opened(today.text, stated.text)
    wanted = {"position": view.query.get("position", ""), "size": newest.size, "installation": view.log}
    found = _proof(await view.api.look("/audit/proofs/inclusion", **wanted))
    return included(newest, found, view.query.get("leaf_hash", "").strip())


def _proof(reply: Reply) -> Any:
    if reply.is_refusal:
        errors = [f"{error['pointer']} {error['detail']}" for error in reply.content.get("errors", ())]
        raise NotChecked("; ".join(errors) or reply.content["detail"])
    return reply.content

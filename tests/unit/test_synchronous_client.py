"""The synchronous client is what the script makes of the asynchronous one, and has everything that that one has."""

import ast

from scripts.synchronous_client import BY_HAND, MADE, made, synchronous


def test_it_is_what_the_script_makes() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in MADE.glob("*.py")}
    by_hand = committed.pop(BY_HAND)
    assert committed == made()
    nodes = [node for text in (by_hand, *committed.values()) for node in ast.walk(ast.parse(text))]
    assert not [node for node in nodes if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor)]


def test_words_are_replaced_and_nothing_else() -> None:
    source = '''"""A page that is awaited."""


async def pages(source: AsyncIterator[str]) -> list[str]:
    """Return what the source gives, asynchronously."""
    async with opened() as door:
        return [await door.read(page) async for page in source if await checked(page, of=(await door.key()))]
'''
    assert (
        synchronous(source)
        == '''"""A page that is awaited."""


def pages(source: Iterator[str]) -> list[str]:
    """Return what the source gives, asynchronously."""
    with opened() as door:
        return [door.read(page) for page in source if checked(page, of=(door.key()))]
'''
    )

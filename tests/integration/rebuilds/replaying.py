"""`tallystick replay` as the tests of rebuilds run it."""

from domain.journal.database import Database
from scripts.commands.replay.command import replay
from tests.commands import invoke


def replayed(database: Database, *arguments: str) -> tuple[int, str]:
    """Run `tallystick replay`. Return its exit code and output."""
    options = ["--database-url", database.url, "--schema", database.schema]
    result = invoke(replay, [*arguments, *options])
    return result.exit_code, " ".join(result.output.split())

"""Where a request goes in a placement, whose installations each have a part of the ledgers."""

from enum import Enum


class Spans(Enum):
    """Which installations answer a route. The value says so in words. With one installation, it answers them all."""

    LEDGER = "answered by the installation of the ledger in the path"
    ALL = "every installation is asked, and `unanswered` names those that could not answer"
    FOUND = "answered by the installation that has the thing in the path"
    NAMED = "answered by the installation in `installation`, which must be given where there are several"
    CHOSEN = "answered by the installation in `installation`, without it by home"
    BODY = "answered by the installation that the body concerns"
    HOME = "answered by home, for all installations"
    PROCESS = "about the process that answers"

    @property
    def described(self) -> dict[str, str]:
        """Who answers, as the document shows it."""
        return {"class": self.name.lower(), "answered": self.value}

"""Which release this is: what the document shows, and what is noted where it matters which code did something."""

from pathlib import Path

RELEASE = "0.1.0"

ROOT = Path(__file__).parent.parent
"""The folder of the packages, in which a process that this one starts finds the same release."""

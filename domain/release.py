"""The version of this release: shown in the OpenAPI document, and recorded wherever it matters which code acted."""

from pathlib import Path

RELEASE = "0.1.0"

ROOT = Path(__file__).parent.parent
"""The folder that holds the packages. A child process started from here runs the same release."""

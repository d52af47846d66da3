"""Which release this is: what the document shows, and what is noted where it matters which code did something."""

RELEASE = "0.1.0"

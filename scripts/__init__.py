"""The `tallystick` command and what it runs."""

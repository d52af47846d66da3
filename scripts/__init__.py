"""The `tallystick` command and everything it runs."""

"""`tallystick replay`: rebuilds at a terminal, by subcommands or by the older flags."""

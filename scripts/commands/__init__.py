"""One module per subcommand, and the modules they share."""

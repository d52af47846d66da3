"""One module per subcommand, and what several of them share."""

"""One module per command; `cli.main` imports only the one that was asked for. Each has a `COMMAND`."""

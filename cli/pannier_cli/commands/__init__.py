"""One module per subcommand, each imported only when its command runs (see `pannier_cli.main`)."""

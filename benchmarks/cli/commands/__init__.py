"""The subcommands of `bench`, one module each: `configure(parser)` and `run(args)`."""

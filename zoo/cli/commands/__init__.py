"""The subcommands of `zoo`, one module each: `configure(parser)` and `run(args)`."""

"""The subcommands, one a module: each offers ``register(app)``, which adds it to the command line."""

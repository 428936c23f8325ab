"""The command ``cdgm``: one module a subcommand; each imports what is slow only when it runs."""

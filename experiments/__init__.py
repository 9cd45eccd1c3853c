"""The experiments of both papers, redone: ``python -m experiments --help``."""

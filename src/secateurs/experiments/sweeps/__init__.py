"""Sweeps: a TOML file with problems, methods and seeds, run cell by cell into a ledger."""

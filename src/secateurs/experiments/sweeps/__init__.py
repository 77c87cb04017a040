"""Sweeps: a TOML file of problems, methods and seeds, run cell by cell into a ledger."""

"""Mutated files of every format that secateurs reads: python -m fuzz --inputs 100000."""

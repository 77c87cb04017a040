"""Benchmarks of secateurs.sensing."""

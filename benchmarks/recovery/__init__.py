"""Benchmarks of secateurs.recovery."""

"""Benchmarks of secateurs.nn."""

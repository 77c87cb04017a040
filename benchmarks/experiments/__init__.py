"""Benchmarks of secateurs.experiments."""

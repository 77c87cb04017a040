"""Benchmarks of secateurs.features."""

"""Benchmarks of secateurs.training."""

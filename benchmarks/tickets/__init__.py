"""Benchmarks of secateurs.tickets."""

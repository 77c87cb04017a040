"""Benchmarks: us, the floor and the peers in one run."""

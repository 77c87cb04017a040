"""Benchmarks of networks for microcontrollers."""

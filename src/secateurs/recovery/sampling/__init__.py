"""Sampling of sparse networks while the noise level falls."""

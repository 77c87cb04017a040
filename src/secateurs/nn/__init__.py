"""Torch modules: the smallest dense module of a sparse network."""

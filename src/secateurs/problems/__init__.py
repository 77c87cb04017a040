"""Data sets by name or file, and tables of mixed types as one numeric matrix."""

"""The version of the package, which files record and nothing else needs."""

__version__ = "0.2.0"

"""Slow, obviously correct versions that the fast ones are tested against."""

"""The papers' assumptions and bounds as measured checks."""

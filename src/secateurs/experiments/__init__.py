"""Comparisons, paths over budgets, and their figures."""

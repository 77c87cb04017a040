"""Iterative hard thresholding and its polish."""

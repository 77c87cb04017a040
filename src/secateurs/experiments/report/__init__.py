"""A run as one page: what was asked, on what machine, what came out."""

from secateurs.experiments.report.page import write_report

__all__ = ["write_report"]

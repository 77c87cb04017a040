"""The report: a run as one HTML page with its settings, environment and results."""

from secateurs.experiments.report.page import write_report

__all__ = ["write_report"]

"""The campaign: every statement of every certificate against planted truth and fresh samples."""

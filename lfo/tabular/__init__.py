"""The tabular QSS experiments."""

"""Scores, statistics, tables, plots and pages."""

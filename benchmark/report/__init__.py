"""Stored results as tables, figures and one page: `python -m benchmark.report`."""

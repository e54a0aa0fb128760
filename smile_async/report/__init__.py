"""A page about a batch that can be forwarded: one HTML file, its charts inside it, nothing to be fetched."""

from smile_async.report.page import write_report

__all__ = ["write_report"]

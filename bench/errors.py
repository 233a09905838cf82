"""Errors with one line for people."""

from __future__ import annotations


class UsageError(Exception):
    """Wrong use or input: one line that says what was got, what was wanted, and the nearest valid name.

    The command line prints it and exits with code 2.
    """


class WorkError(Exception):
    """The work failed, though nothing was asked for wrongly; the command line prints it and exits with code 1."""

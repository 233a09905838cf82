"""What people read: standings, leaderboard files, plots and the page. Reads records and artifacts; imports no torch."""

from .formats import text_table
from .leaderboard import Leaderboard, build_leaderboard, write_leaderboard
from .page import FORMATS, current_report, write_report

__all__ = [
    "FORMATS",
    "Leaderboard",
    "build_leaderboard",
    "current_report",
    "text_table",
    "write_leaderboard",
    "write_report",
]

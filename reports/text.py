"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")
_THOUSANDS = ("", "k", "M", "G", "T", "P", "E")
_SCALED_UNITS = frozenset({"operations", "parameters"})


def number(value: float, unit: str = "") -> str:
    """Three significant digits; bytes and large counts with a prefix: 4.12, 220k, 1.5 MiB, 3.1e-5."""
    if unit == "bytes":
        return _prefixed(value, 1024, _BYTES, " ")
    if unit in _SCALED_UNITS:
        return _prefixed(value, 1000, _THOUSANDS, "")
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def percent(share: float) -> str:
    """ "26%", "2.5%": two significant digits, none after 10%."""
    shown = 100 * share
    return f"{shown:.0f}%" if shown >= 9.95 else f"{shown:.2g}%"


def interval(low: float | None, high: float | None, value: float, unit: str = "") -> str:
    """ "[38.0, 44.5]" with the digits that its width warrants; empty without an interval."""
    if low is None or high is None:
        return ""
    if unit == "bytes" or unit in _SCALED_UNITS:
        return f"[{number(low, unit)}, {number(high, unit)}]"
    places = _places(low, high, value)
    if places is None:
        return f"[{number(low)}, {number(high)}]"
    return f"[{low:.{places}f}, {high:.{places}f}]"


def estimate(value: float, low: float | None, high: float | None, unit: str = "") -> tuple[str, str]:
    """A value and its interval as text, to the same number of places."""
    places = None if low is None or high is None else _places(low, high, value)
    if places is None or unit == "bytes" or unit in _SCALED_UNITS:
        return number(value, unit), interval(low, high, value, unit)
    return f"{value:.{places}f}", interval(low, high, value, unit)


def figure(cell: Mapping[str, Any] | None, unit: str = "", *, with_interval: bool = True) -> str:
    """A leaderboard's cell in one line: "41.2 [38.0, 44.5]", "not defined", or a dash where it is missing."""
    if cell is None:
        return "–"
    if "undefined" in cell:
        return "not defined"
    value, bounds = estimate(cell["value"], cell["low"], cell["high"], unit)
    return f"{value} {bounds}" if bounds and with_interval else value


def setting(value: Any) -> str:
    """A hyperparameter's value: floats to three significant digits, everything else as it is."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)


def rank(row: Mapping[str, Any]) -> str:
    """ "1", "1–3" where the tests leave several ranks open, or a dash."""
    if row["rank"] is None:
        return "–"
    return str(row["rank"]) if row["rank_high"] == row["rank_low"] else f"{row['rank_low']}–{row['rank_high']}"


def standing(row: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """A row against the candidate: "candidate", "worse" (excluded), "open" (not excluded), "ahead", or a dash."""
    claims = content["claims"]
    if claims is None or row["incumbent"] > 0 or row["rank"] is None:
        return "–"
    if row["candidate"]:
        return "candidate"
    family = row["family"]
    return "worse" if family in claims["better_than"] else "ahead" if family in claims["ahead"] else "open"


def listing(names: list[str], joint: str = "and") -> str:
    """ "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {joint} {names[-1]}" if names else ""


def count(n: int, noun: str, plural: str | None = None) -> str:
    """ "1 family", "2 families"."""
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def _prefixed(value: float, base: int, prefixes: tuple[str, ...], gap: str) -> str:
    place = 0
    while abs(value) >= base and place < len(prefixes) - 1:
        value, place = value / base, place + 1
    digits = 0 if place == 0 or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}{gap}{prefixes[place]}"


def _places(low: float, high: float, value: float) -> int | None:
    """Decimal places that show two digits of the half-width and of the value, but no more than four of the value.

    None where fixed point reads badly.
    """
    half = (high - low) / 2
    if half <= 0 or not 1e-3 <= abs(value) < 1e6:
        return None
    largest = math.floor(math.log10(abs(value)))
    wanted = max(1 - math.floor(math.log10(half)), 1 - largest)
    return max(0, min(wanted, 3 - largest))

"""What is known by name: families and metrics, built in or from plug-ins.

Listing costs no torch: classes are imported when they are used.
"""

from ..metrics.catalogue import METRICS
from .families import Family, ResolvedFamily, families, family, register_family
from .plugins import load_plugin, load_plugins
from .selection import check_objective, default_objective, families_for, metric

__all__ = [
    "METRICS",
    "Family",
    "ResolvedFamily",
    "check_objective",
    "default_objective",
    "families",
    "families_for",
    "family",
    "load_plugin",
    "load_plugins",
    "metric",
    "register_family",
]

"""Looks up families, data sets and metrics by name, built in or from plug-ins.

Listing costs no torch: classes are imported when they are used.
"""

from ..errors import check_name, look_up
from ..metrics.catalogue import METRICS
from .additions import metric, register_data, register_metric
from .evaluators import (
    EVALUATORS,
    EvaluatorCard,
    check_evaluators,
    chosen,
    default_evaluators,
    normal_form,
    seen_through,
    with_absolute_path,
)
from .families import Family, ResolvedFamily, families, family, register_family, size_of
from .plugins import all_shared, broken, is_shared, load_entry_points, load_plugin, load_plugins, note_origin
from .selection import (
    cards_of,
    check_constraints,
    check_objective,
    default_objective,
    families_for,
    left_out,
    starts_of,
    undefined_through,
)

__all__ = [
    "EVALUATORS",
    "METRICS",
    "EvaluatorCard",
    "Family",
    "ResolvedFamily",
    "all_shared",
    "broken",
    "cards_of",
    "check_constraints",
    "check_evaluators",
    "check_name",
    "check_objective",
    "chosen",
    "default_evaluators",
    "default_objective",
    "families",
    "families_for",
    "family",
    "is_shared",
    "left_out",
    "load_entry_points",
    "load_plugin",
    "load_plugins",
    "look_up",
    "metric",
    "normal_form",
    "note_origin",
    "register_data",
    "register_family",
    "register_metric",
    "seen_through",
    "size_of",
    "starts_of",
    "undefined_through",
    "with_absolute_path",
]

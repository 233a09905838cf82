"""The tables that ship with scikit-learn, split as users' tables are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ....models.data_spec import DataSpec
from ..base import DataSet
from ..common_options import CommonOptions
from ..preparation import prepare
from ..sources.tables import as_found
from ..tables.columns import describe

if TYPE_CHECKING:
    import pandas as pd


def iris(spec: DataSpec) -> DataSet:
    """150 flowers: four lengths in centimetres, and the species as label."""
    from sklearn.datasets import load_iris

    return _labelled(spec, load_iris(as_frame=True), "species")


def wine(spec: DataSpec) -> DataSet:
    """178 wines: thirteen measurements, and the cultivar as label."""
    from sklearn.datasets import load_wine

    return _labelled(spec, load_wine(as_frame=True), "cultivar")


def breast_cancer(spec: DataSpec) -> DataSet:
    """569 tumours: thirty measurements of cell nuclei, and the diagnosis as label."""
    from sklearn.datasets import load_breast_cancer

    return _labelled(spec, load_breast_cancer(as_frame=True), "diagnosis")


def diabetes(spec: DataSpec) -> DataSet:
    """442 patients: ten measurements in their own units, and how far the disease was a year later."""
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True, scaled=False).frame
    whole = dict.fromkeys(("age", "sex", "target"), "int64")
    return _data(spec, frame.astype(whole).rename(columns={"target": "progression"}), categorical=("sex",))


def _labelled(spec: DataSpec, content: object, label: str) -> DataSet:
    """scikit-learn's frame with its classes as names."""
    found: pd.DataFrame = content.frame  # type: ignore[attr-defined]
    names: list[str] = [str(name) for name in content.target_names]  # type: ignore[attr-defined]
    frame = found.drop(columns="target")
    frame[label] = [names[code] for code in found["target"]]
    return _data(spec, frame, label=label)


def _data(spec: DataSpec, frame: pd.DataFrame, label: str = "", categorical: tuple[str, ...] = ()) -> DataSet:
    described = describe(frame, where=spec.name, label=label, categorical=categorical)
    found = as_found(spec.name, spec.name, described)
    return prepare(replace(found, spec=replace(spec, table=found.spec.table)), CommonOptions())

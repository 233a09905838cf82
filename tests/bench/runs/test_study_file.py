"""The schema of options, and study files written in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gentune.bench.data import DataRef
from gentune.bench.errors import UsageError
from gentune.bench.runs.study_file import StudyFile
from gentune.bench.runs.study_options import (
    changeable,
    choices,
    first_difference,
    flag,
    help_text,
    parse_study,
    read_options,
    read_study,
    required,
    specs,
)

STUDY = StudyFile(data=DataRef("digits"), families=("beta_vae", "ddpm"), trainings=3, objective=("fid",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"familys": ["a"]}, "study.toml: unknown key 'familys'; did you mean 'families'?"),
        ({"trainings": 0}, "study.toml: trainings: Input should be greater than 0; got 0"),
        ({"trainings": None}, "study.toml: one of trainings, flops and seconds is wanted, got none"),
        ({"flops": 1e9}, "study.toml: one of trainings, flops and seconds is wanted, got trainings and flops"),
        ({"seeds": 0}, "study.toml: seeds: Input should be greater than or equal to 1; got 0"),
        ({"families": ["a", "a"]}, "study.toml: a family is named twice: a, a"),
        ({"sampler": "grid"}, "study.toml: unknown sampler 'grid'; known: bayesian, random"),
        ({"families": 3}, "study.toml: families: wanted names, in a list or separated by commas; got 3"),
        ({"families": ["a", 3]}, "study.toml: families.1: Input should be a valid string; got 3"),
        ({"families": ""}, "study.toml: families: wanted at least 1; got ''"),
        ({"plugins": 3}, "study.toml: plugins: wanted a path or a list of paths; got 3"),
        (
            {"store": "here.db"},
            "study.toml: store: wanted a URL, for example sqlite:///path/to/store.db; got 'here.db'",
        ),
        ({"warm_start": ["runs/a"], "sampler": "random"}, "study.toml: the random sampler learns nothing"),
        ({"stopping": "curves"}, "study.toml: stopped trainings are kept to be trained further"),
        ({"data": None}, "study.toml: data"),
    ],
)
def test_a_wrong_study_is_told_in_one_line(content: dict[str, object], said: str) -> None:
    good = {"data": "digits", "families": ["a"], "trainings": 2, "objective": ["fid"]}
    with pytest.raises(UsageError) as error:
        parse_study({**good, **content}, "study.toml")
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_a_study_file_reads_as_written(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    for constraints in (None, (), ("fid <= 3", "coverage >= 0.123456789")):
        study = STUDY.model_copy(
            update={"store": "sqlite:///x.db", "two_speeds": True, "workers": 2, "constraints": constraints}
        )
        path.write_text(study.to_toml(), encoding="utf-8")
        assert parse_study(read_study(path), str(path)) == study


def test_each_value_is_checked_by_itself_and_put_into_the_fields_form(tmp_path: Path) -> None:
    given = {"families": "a, b", "trainings": "2", "plugins": "mine.py", "warm_start": ["/runs/a", Path("b")]}
    assert read_options(given, "", tmp_path) == {
        "families": ("a", "b"),
        "trainings": 2.0,
        "plugins": (str((tmp_path / "mine.py").resolve()),),
        "warm_start": ("/runs/a", str((tmp_path / "b").resolve())),
    }
    with pytest.raises(UsageError, match=r"^study\.toml: trainings: Input should be greater than 0; got 0$"):
        read_options({"trainings": 0}, "study.toml", tmp_path)
    with pytest.raises(UsageError, match=r"^unknown key 'trainngs'; did you mean 'trainings'\?$"):
        read_options({"trainngs": 2}, "", tmp_path)


def test_two_studies_differ_by_their_identity_alone() -> None:
    assert first_difference(STUDY, STUDY.model_copy(update={"workers": 7, "devices": ("cpu",), "seeds": 9})) is None
    assert first_difference(STUDY, STUDY.model_copy(update={"workers": 7, "seed": 1})) == "seed"
    free = {"seeds": 5, "max_hours": None, "workers": None, "executor": "local", "devices": ("auto",)}
    assert changeable(STUDY) == free


def test_help_states_the_default_once() -> None:
    for name in specs():
        assert help_text(name).count("Default") <= 1, name
    assert help_text("seeds").endswith(" Default: 5.")
    assert help_text("devices").endswith(" Default: auto.")
    assert help_text("two_speeds").endswith(" Default: one speed.")
    assert "Default" not in help_text("plugins")


def test_what_an_option_looks_like_from_outside() -> None:
    assert [name for name in specs() if required(name)] == ["data", "families"]
    assert choices("stopping") == ("none", "curves", "halving")
    assert choices("trainings") == ()
    assert (flag("warm_start"), flag("plugins")) == ("--warm-start", "--plugin")


def test_a_field_without_a_spec_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    from gentune.bench.runs import study_options

    class Extended(StudyFile):
        volume: int = 3

    monkeypatch.setattr(study_options, "StudyFile", Extended)
    with pytest.raises(TypeError, match=r"StudyFile\.volume has no OptionSpec"):
        specs()

"""One schema: an option means the same on the command line, in Python and in a study file."""

from __future__ import annotations

import inspect
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

import gentune
from gentune import api
from gentune.bench import registry
from gentune.bench.commands.cli import main
from gentune.bench.data import describe_data
from gentune.bench.driver import warm_start
from gentune.bench.errors import UsageError
from gentune.bench.runs.study_file import StudyFile
from gentune.bench.runs.study_options import choices, flag, help_text, plain_type, specs

BASE: dict[str, Any] = {"data": "two_moons", "families": ["realnvp"], "trainings": 2}
PLUGIN = Path(__file__).parents[2] / "plugins" / "tiny.py"
# Values that only their option understands; any other option gets one by its type.
VALUES: dict[str, Any] = {
    "data": "eight_gaussians",
    "families": ["realnvp", "gaussian_mixture"],
    "objective": ["nll", "precision"],
    "evaluators": ["random_projection", "raw"],
    "plugins": [str(PLUGIN)],
    "warm_start": ["earlier_run"],
    "space": {"realnvp": {"hidden": {"low": 30, "high": 40}}, "all": {"batch_size": {"choices": [32, 64]}}},
    "start": {"realnvp": {"hidden": 32, "learning_rate": 1e-3}},
    "constraints": ["precision >= 0.5", "nll <= 2"],
    "store": "sqlite:///elsewhere.db",
    "devices": ["cpu", "cuda:1"],
    "executor": "in_process",
}
NEEDS: dict[str, dict[str, Any]] = {"stopping": {"two_speeds": True}}


class FrozenError(Exception):
    """Ends a command once its description is checked."""

    def __init__(self, out: Path, study: StudyFile) -> None:
        super().__init__(str(out))
        self.study = study


@pytest.fixture(autouse=True)
def stop_when_frozen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    def stop(out: Path, study: StudyFile) -> None:
        raise FrozenError(out, study)

    monkeypatch.setattr(warm_start, "make_folder", stop)
    monkeypatch.setattr(api, "make_folder", stop)
    monkeypatch.chdir(tmp_path)
    yield


def value_of(name: str) -> Any:
    """A value that is not the option's default."""
    kind = plain_type(name)
    if name in VALUES:
        return VALUES[name]
    return choices(name)[-1] if choices(name) else {int: 7, float: 2.5, bool: True, str: "other"}[kind]


def arguments(options: dict[str, Any]) -> list[str]:
    """Options as the command line takes them."""
    found: list[str] = []
    for name, value in options.items():
        if isinstance(value, bool):
            found.append(flag(name).split("/")[not value])
        elif specs()[name].tables:
            found += [part for entry in entries(value) for part in (flag(name), entry)]
        elif specs()[name].path or specs()[name].repeated:
            found += [part for entry in value for part in (flag(name), entry)]
        else:
            found += [flag(name), ",".join(value) if isinstance(value, list) else str(value)]
    return found


def entries(tables: dict[str, Any]) -> list[str]:
    """Tables as the command line takes them: NAME.NAME=VALUE."""
    found: list[str] = []
    for name, value in tables.items():
        if isinstance(value, dict):
            found += [f"{name}.{entry}" for entry in entries(value)]
        else:
            found.append(f"{name}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return found


def frozen(call: Any, *positional: Any, **keywords: Any) -> StudyFile:
    with pytest.raises(FrozenError) as ended:
        call(*positional, **keywords)
    return ended.value.study


@pytest.mark.parametrize("name", StudyFile.model_fields)
def test_an_option_means_the_same_in_all_three_places(name: str, tmp_path: Path) -> None:
    options = BASE | NEEDS.get(name, {}) | {name: value_of(name)}
    if name in ("flops", "seconds"):
        del options["trainings"]
    file = tmp_path / "STUDY.toml"
    file.write_text(tomli_w.dumps(options), encoding="utf-8")

    by_flags = frozen(main, ["compare", *arguments(options)])
    assert frozen(main, ["compare", str(file)]) == by_flags
    assert frozen(gentune.compare, out="run", **options) == by_flags
    field = StudyFile.model_fields[name]
    assert field.is_required() or getattr(by_flags, name) != field.default
    # A flag wins over the file.
    file.write_text(tomli_w.dumps(BASE | NEEDS.get(name, {})), encoding="utf-8")
    assert frozen(main, ["compare", str(file), *arguments({name: value_of(name)})]) == by_flags


def test_tune_is_a_comparison_of_one_family() -> None:
    options = {**BASE, "seeds": 4, "repeats": 2, "two_speeds": True, "devices": ["cpu"]}
    whole = frozen(main, ["compare", *arguments(options)])
    del options["families"]
    assert frozen(main, ["tune", "realnvp", *arguments(options)]) == whole
    assert frozen(gentune.tune, "realnvp", out="run", **options) == whole
    with pytest.raises(FrozenError, match=r"^runs/two_moons-realnvp$"):
        main(["tune", "realnvp", *arguments(options)])
    with pytest.raises(FrozenError, match=r"^runs/two_moons$"):
        main(["compare", *arguments({**options, "families": "realnvp"})])


def test_relative_paths_are_taken_from_where_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.py").write_text("")
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "there" / "STUDY.toml").write_text(tomli_w.dumps(BASE | {"plugins": ["mine.py"]}), encoding="utf-8")
    assert frozen(main, ["compare", "there/STUDY.toml"]).plugins == (str(tmp_path / "there" / "mine.py"),)
    assert frozen(main, ["compare", "there/STUDY.toml", "--plugin", "mine.py"]).plugins == (str(tmp_path / "mine.py"),)


def test_a_budget_given_to_the_command_replaces_the_files(tmp_path: Path) -> None:
    (tmp_path / "STUDY.toml").write_text(tomli_w.dumps(BASE), encoding="utf-8")
    assert frozen(main, ["compare", "STUDY.toml", "--flops", "1e9"]).budget == ("flops", 1e9)


def test_the_page_on_spaces_shows_what_works(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "space.md").read_text(encoding="utf-8")
    toml, command = (block.split("```")[0] for block in page.split("```")[1:4:2])
    (tmp_path / "study.toml").write_text(toml.removeprefix("toml\n"), encoding="utf-8")
    study = frozen(main, shlex.split(command)[1:])
    changed = registry.cards_of(study.families, describe_data(study.data), study.space)
    cards = {name: with_changes.card for name, with_changes in changed.items()}
    assert cards["vae"].space["batch_size"].choices == (32, 64)
    assert cards["vae"].space["learning_rate"].likely == (5e-4, 1.5e-3)
    assert cards["realnvp"].space["hidden"].low == 32
    (start,) = registry.starts_of(changed, study.start)["realnvp"]
    assert (start["hidden"], start["depth"], start["transforms"]) == (40, 2, 4)
    assert study.constraints == ("authenticity >= 0.3",)


def test_none_in_place_of_constraints_drops_the_guards() -> None:
    assert frozen(main, ["compare", *arguments(BASE), "--constraint", "none"]).constraints == ()
    assert frozen(gentune.compare, out="run", **BASE, constraints=[]).constraints == ()
    assert frozen(main, ["compare", *arguments(BASE)]).constraints is None


def test_changes_of_a_space_are_laid_over_those_of_the_file(tmp_path: Path) -> None:
    given = {"space": {"realnvp": {"hidden": {"low": 30, "high": 40}, "transforms": {"fix": 4}}}}
    (tmp_path / "STUDY.toml").write_text(tomli_w.dumps(BASE | given), encoding="utf-8")
    flags = ["--set", "realnvp.hidden.high=48", "--set", "realnvp.transforms.high=6", "--set", "all.batch_size.fix=64"]
    assert frozen(main, ["compare", "STUDY.toml", *flags]).space == {
        "realnvp": {"hidden": {"low": 30, "high": 48}, "transforms": {"high": 6}},
        "all": {"batch_size": {"fix": 64}},
    }


def test_a_wrong_value_is_blamed_on_its_own_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "STUDY.toml").write_text(tomli_w.dumps(BASE | {"seeds": 0}), encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["compare", "STUDY.toml"])
    said = "seeds: Input should be greater than or equal to 1; got"
    assert capsys.readouterr().err == f"gentune: STUDY.toml: {said} 0\n"
    (tmp_path / "STUDY.toml").write_text(tomli_w.dumps(BASE), encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["compare", "STUDY.toml", "--seeds", "-1"])
    assert capsys.readouterr().err == f"gentune: {said} -1\n"


def test_changes_of_a_resumed_run_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.toml").write_text(tomli_w.dumps(BASE | {"objective": ["mmd"]}), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["resume", str(tmp_path), "--workers", "0"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "gentune: workers: Input should be greater than or equal to 1; got 0\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"familes": ["ddpm"]}, "gentune.compare has no option 'familes'; did you mean 'families'?"),
        ({"families": []}, "families: wanted at least 1; got []"),
        ({"families": ["realnpv"]}, "unknown family 'realnpv'; did you mean 'realnvp'?"),
        (
            {"constraints": "precison >= 0.5"},
            "unknown metric 'precison'; did you mean 'precision'?",
        ),
        (
            {"constraints": ["nll < 2"]},
            "constraints: wanted METRIC <= X or METRIC >= X, not 'nll < 2'; got ['nll < 2']",
        ),
        (
            {"constraints": ["failure_rate <= 0.1"]},
            "metric 'failure_rate' is measured over a whole study, so it cannot be constrained",
        ),
        ({"constraints": ["nll <= 2", "none"]}, "constraints: none drops all constraints, the guards too"),
        (
            {"objective": "bits_per_dim"},
            "metric 'bits_per_dim' is defined for image data, and 'two_moons' has vector data; wanted another "
            "objective, such as mmd",
        ),
        ({"objective": "clip_score"}, "metric 'clip_score' needs images and texts as a CLIP model sees them, which a"),
        ({"objective": "bits_per_token"}, "metric 'bits_per_token' is defined for sequence data, and 'two_moons' has"),
        ({"objective": "seed_spread"}, "metric 'seed_spread' is measured over a whole study; wanted another"),
        ({"objective": "mmd,nll,mmd"}, "a metric is an objective twice: mmd, nll, mmd"),
        ({"objective": "linear_probe"}, "metric 'linear_probe' needs labels, and 'two_moons' has none"),
        ({"families": "realnvp,realnvp"}, "a family is named twice: realnvp, realnvp"),
        ({"devices": "cpu,cpu"}, "a device is named twice: cpu, cpu"),
        ({"space": "realnvp.hidden=3"}, "space: wanted FAMILY.NAME.KEY=VALUE, not 'realnvp.hidden=3'"),
        ({"space": "realnvp.hidden.lo=3"}, "space: realnvp.hidden: unknown key 'lo'; did you mean 'low'?"),
        ({"space": ["realnvp.depth.low=1", "realnvp.depth.low=2"]}, "space: realnvp.depth.low is given twice"),
        ({"space": "realnvp.depth.fix=inf"}, "space: realnvp.depth.fix is inf; wanted finite numbers"),
        ({"space": {"realnvp": 3}}, "space: realnvp is 3; wanted a table with NAME = …"),
        ({"space": "relnvp.depth.fix=1"}, "space.relnvp: no such family is compared; did you mean 'realnvp'?"),
        ({"start": {"realnvp": {"dept": 1}}}, "start.realnvp.dept: unknown parameter; did you mean 'depth'?"),
        ({"start": "relnvp.depth=1"}, "start.relnvp: no such family is compared; did you mean 'realnvp'?"),
        ({"stopping": "curve"}, "unknown stopping 'curve'; did you mean 'curves'?"),
        ({"trainings": None}, "no budget given; wanted trainings=N, flops=X or seconds=S"),
        ({"data": None}, "no data given; wanted data=NAME"),
    ],
)
def test_a_wrong_keyword_is_told_in_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        gentune.compare(out="run", **BASE | options)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_python_shows_every_option() -> None:
    compared, tuned = inspect.signature(gentune.compare).parameters, inspect.signature(gentune.tune).parameters
    assert list(compared) == [*StudyFile.model_fields, "out"]
    assert set(tuned) == {"family", *compared} - {"families"}
    assert (compared["seeds"].default, compared["choice_seeds"].default) == (5, 3)
    assert compared["data"].default is inspect.Parameter.empty
    for name in StudyFile.model_fields:
        assert f"    {name}: {help_text(name)}" in (gentune.compare.__doc__ or "")


def test_help_shows_every_option(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}
    for command in ("compare", "tune", "resume"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown[command] = {word for line in capsys.readouterr().out.splitlines() for word in line.split()}
    flags = {name: set(flag(name).split("/")) for name in StudyFile.model_fields}
    for name, spec in specs().items():
        assert flags[name] <= shown["compare"], name
        assert (flags[name] <= shown["tune"]) == (name != "families"), name
        assert (flags[name] <= shown["resume"]) == (not spec.identity), name


NEW_OPTION = """
import json, sys
from pathlib import Path
from typing import Annotated
from pydantic import Field
from gentune.bench.runs import study_file

class Extended(study_file.StudyFile):
    loudness: Annotated[int, Field(le=11), study_file.OptionSpec("How loud the new option is.", "L")] = 3

study_file.StudyFile = Extended
import gentune
from gentune.bench.commands.cli import main
from gentune.bench.driver import warm_start

class FrozenError(Exception): pass
def stop(out, study): raise FrozenError(study.loudness)
warm_start.make_folder = stop
from gentune import api

def outcome(call, *arguments, **keywords):
    try:
        call(*arguments, **keywords)
    except FrozenError as ended: return ended.args[0]
    except gentune.bench.errors.UsageError as error: return str(error)
    except SystemExit as ended: return ended.code

base = dict(data="two_moons", families=["realnvp"], trainings=2)
flags = ["compare", "--data", "two_moons", "--families", "realnvp", "--trainings", "2"]
def study(value):
    Path("STUDY.toml").write_text('data = "two_moons"\\nfamilies = ["realnvp"]\\ntrainings = 2\\n')
    with Path("STUDY.toml").open("a") as file:
        file.write(f"loudness = {value}\\n")
    return ["compare", "STUDY.toml"]
print(json.dumps([
    outcome(main, flags), outcome(main, [*flags, "--loudness", "7"]), outcome(main, study(7)),
    outcome(gentune.compare, out="run", loudness=7, **base),
    outcome(gentune.compare, out="run", loudness=12, **base), outcome(main, [*flags, "--loudness", "12"]),
    outcome(main, study(12)), outcome(gentune.compare, out="run", loudnes=7, **base),
]))
main(["compare", "--help"])
"""


def test_a_new_option_is_one_field(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", NEW_OPTION], capture_output=True, text=True, check=True, cwd=tmp_path)
    first, *shown = done.stdout.splitlines()
    said = "loudness: Input should be less than or equal to 11; got 12"
    unknown = "gentune.compare has no option 'loudnes'; did you mean 'loudness'?"
    assert json.loads(first) == [3, 7, 7, 7, said, 2, 2, unknown]
    assert done.stderr.splitlines() == [f"gentune: {said}", f"gentune: STUDY.toml: {said}"]
    line = next(line for line in shown if "--loudness" in line)
    assert "L" in line.split()
    assert "How loud the new" in line


def test_the_list_of_commands_does_not_read_the_schema() -> None:
    """pydantic takes longer to import than everything else that `gentune --help` needs."""
    code = (
        "import sys; from gentune.bench.commands.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    print('pydantic' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "False\n"

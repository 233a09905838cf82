"""The command line as people and scripts meet it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from gentune.bench import protocol
from gentune.bench.commands.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


COMPARE = ("compare", "--data", "digits", "--families", "ddpm")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare", "--data", "digit", "--families", "ddpm", "--trainings", "2"), "did you mean 'digits'?"),
        (("compare", "--data", "digits", "--families", "dppm", "--trainings", "2"), "did you mean 'ddpm'?"),
        (("compare", "--families", "ddpm", "--trainings", "2"), "no data given; wanted --data NAME"),
        (("compare", "--data", "digits", "--trainings", "2"), "no families given"),
        (COMPARE, "no budget given; wanted --trainings N, --flops X or --seconds S"),
        ((*COMPARE, "--trainings", "2", "--flops", "1e9"), "got trainings and flops"),
        ((*COMPARE, "--trainings", "-2"), "trainings: Input should be greater than 0"),
        ((*COMPARE, "--trainings", "two"), "Invalid value for '--trainings'"),
        ((*COMPARE, "--trainings", "2", "--objective", "fidd"), "unknown metric 'fidd'; did you mean 'fid'?"),
        ((*COMPARE, "--trainings", "2", "--seeds", "0"), "seeds: Input should be greater than or equal to 1"),
        ((*COMPARE, "--trainings", "2", "--store", "here.db"), "store: wanted a URL"),
        ((*COMPARE, "--trainings", "2", "--plugin", "nowhere.py"), "is not there"),
        (
            ("compare", "--data", "digits", "--families", "wgan_gp", "--trainings", "2", "--objective", "nll"),
            "no likelihood",
        ),
        (("compare", "nowhere.toml"), "nowhere.toml: cannot be read"),
        (("tune", "ddpn", "--data", "digits", "--trainings", "2"), "did you mean 'ddpm'?"),
        (("resume", "nowhere"), "nowhere is not there"),
        (("status", "nowhere"), "nowhere is not there"),
        (("export", "nowhere"), "nowhere is not there"),
        (("report", "nowhere"), "nowhere is not there"),
        (("list", "famlies"), "did you mean 'families'?"),
        (
            (*COMPARE, "--trainings", "2", "--sampler", "bayesain"),
            "unknown sampler 'bayesain'; did you mean 'bayesian'?",
        ),
        (
            (*COMPARE, "--trainings", "2", "--stopping", "never"),
            "unknown stopping 'never'; known: none, curves, halving",
        ),
        (
            (*COMPARE, "--trainings", "2", "--workers", "0"),
            "workers: Input should be greater than or equal to 1; got 0",
        ),
        (("tune", "--data", "digits"), "Missing argument 'FAMILY'"),
        (("tune", "ddpm", "--families", "ddpm"), "No such option: --families"),
        (("resume", "nowhere", "--choice-seeds", "3"), "No such option: --choice-seeds"),
        (("comare",), "compare"),
        ((*COMPARE, "--triannings", "2"), "--trainings"),
    ],
)
def test_wrong_use_gets_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_a_folder_with_another_study_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text('data = "digits"\nfamilies = ["ddpm"]\ntrainings = 3\nobjective = ["fid"]\n')
    code, _, err = run(capsys, *COMPARE, "--trainings", "2", "--out", str(tmp_path))
    assert code == 2
    assert "holds another study: its trainings is 3.0, here it is 2.0" in err


COMMANDS = ("compare", "tune", "resume", "status", "report", "export", "evaluate", "cache", "latent", "list")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert "Usage" in out
    _, root, _ = run(capsys, "--help")
    assert f" {command} " in root


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"gentune {version('gentune')}\n", "")


@pytest.mark.parametrize(
    ("what", "keys", "known"),
    [
        ("families", "name group summary kinds conditional likelihood steps error", "ddpm"),
        ("data", "name kind shape classes levels entropy source licence error", "digits"),
        ("metrics", "name group direction unit needs summary error", "fid"),
        ("executors", "name summary where error", "local"),
    ],
)
def test_listings_are_lists_of_objects(capsys: pytest.CaptureFixture[str], what: str, keys: str, known: str) -> None:
    code, out, err = run(capsys, "list", what, "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert known in [row["name"] for row in rows]
    for row in rows:
        assert list(row) == keys.split()
    code, out, _ = run(capsys, "list", what)
    assert code == 0
    assert known in out


def test_a_broken_plugin_is_listed_with_its_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plugin = tmp_path / "broken_one.py"
    plugin.write_text("import gentune\nraise ValueError('half finished')\n")
    code, out, _ = run(capsys, "list", "families", "--json", "--plugin", str(plugin))
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert "half finished" in rows["broken_one"]["error"]
    assert rows["ddpm"]["error"] is None
    code, _, err = run(
        capsys, "compare", "--data", "digits", "--families", "broken_one", "--trainings", "1", "--plugin", str(plugin)
    )
    assert code == 2
    assert "half finished" in err


@pytest.mark.slow
def test_a_run_from_beginning_to_end(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """compare with a study file, then every command that reads a run."""
    monkeypatch.setattr(protocol, "SAMPLES", 200)
    monkeypatch.setattr(protocol, "MOST_FINAL_SAMPLES", 400)
    monkeypatch.setenv("TINY_SAMPLES", "200")
    study = tmp_path / "study.toml"
    study.write_text(
        f'data = "two_moons"\nfamilies = ["tiny"]\nplugins = ["{tiny_plugin}"]\n'
        'trainings = 9\nobjective = ["nll"]\nseeds = 2\nchoice_seeds = 1\nworkers = 1\n'
    )
    out = tmp_path / "run"
    command = ("compare", str(study), "--trainings", "2", "--out", str(out), "--json")
    code, text, err = run(capsys, *command)
    assert code == 0, err
    board = json.loads(text)
    assert board["rows"][0]["family"] == "tiny"
    assert board == json.loads((out / "report" / "leaderboard.json").read_text())
    assert "evaluator" in err
    for name in ("index.html", "leaderboard.md", "leaderboard.csv", "leaderboard.tex"):
        assert (out / "report" / name).stat().st_size > 0

    code, text, _ = run(capsys, "status", str(out), "--json")
    status = json.loads(text)
    assert (code, status["state"], status["studies"][0]["finals"]) == (0, "finished", 2)
    code, text, _ = run(capsys, "status", str(out))
    assert "tiny" in text

    code, text, _ = run(capsys, "export", str(out), "--json")
    rows = json.loads(text)
    assert {"trials", "finalists"} == rows.keys()
    assert sum(row["role"] == "final" for row in rows["finalists"]) == 2

    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.rglob("*") if p.is_file()}
    for again in (command, ("resume", str(out), "--json")):
        code, text, _ = run(capsys, *again)
        assert code == 0
        assert json.loads(text) == board
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.rglob("*") if p.is_file()}

    code, text, _ = run(capsys, "report", str(out), "--format", "md,csv")
    assert code == 0
    code, _, err = run(capsys, "report", str(out), "--format", "pdf")
    assert (code, err) == (2, "gentune: unknown format 'pdf'; known: html, json, csv, md, tex\n")


def test_the_folder_is_there_before_anything_heavy(tmp_path: Path) -> None:
    """study.toml is written before torch is imported, so that a crash at any later moment can be taken up."""
    out = tmp_path / "run"
    code = (
        "import sys, builtins; from gentune.bench.commands.cli import main; from pathlib import Path\n"
        "real = builtins.__import__\n"
        "def watch(name, *rest):\n"
        "    if name.split('.')[0] in ('torch', 'numpy', 'optuna'):\n"
        f"        sys.exit(7 if Path({str(out / 'study.toml')!r}).is_file() else 8)\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = watch\n"
        f"main(['compare', '--data', 'digits', '--families', 'ddpm', '--trainings', '1', '--out', {str(out)!r}])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7

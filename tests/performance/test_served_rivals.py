"""Rivals that run in a process of their own, and those that train in parts."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from gentune.search_spaces.space import Parameter, SearchSpace

SERVER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "ask" in message:
        answer = {"id": 7, "setting": {"kind": "0", "rate": 2.0, "depth": 4.2, "width": 3.0}}
    elif message.get("tell") == 7 and message["value"] is None:
        sys.exit(3)
    else:
        answer = {}
        assert "tell" in message or [p["when"] for p in message["space"]] == [{}, {}, {"kind": ["1"]}, {"depth": [4]}]
    print(json.dumps(answer), flush=True)
"""


def served_space() -> SearchSpace:
    return SearchSpace(
        (
            Parameter("kind", "categorical", None, choices=(None, True)),
            Parameter("rate", "float", 0.1, low=1e-3, high=1.0, log=True),
            Parameter("depth", "int", 3, low=1, high=9, when={"kind": (True,)}),
            Parameter("width", "int", 3, low=1, high=9, when={"depth": (4,)}),
        )
    )


def test_a_rival_behind_a_pipe_is_told_of_choices_by_number(
    bench: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = bench["served_method"]
    (tmp_path / "smac_server.py").write_text(SERVER, encoding="utf-8")
    monkeypatch.setattr(served, "SERVERS", tmp_path)
    method = served.ServedMethod("smac", served_space(), 0, 50, Path(sys.executable))
    assert method.ask() == {"kind": None, "rate": 1.0}
    method.tell(0.5)
    with pytest.raises(RuntimeError, match="smac_server ended with code 3"):
        method.tell(None)
    method.close()
    with pytest.raises(ValueError, match="'depth' has a step"):
        served.describe(bench["toy_catalogue"].SPACE, bench["toy_catalogue"].SPACE["depth"])


def test_an_answer_that_takes_too_long_is_not_waited_for(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    script = tmp_path / "slow_server.py"
    script.write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    pipe = bench["pipe"].Pipe(Path(sys.executable), script, limit=0.2)
    with pytest.raises(RuntimeError, match=r"slow_server gave no answer within 0\.2 s"):
        pipe.send({})
    pipe.close()


def test_a_rival_that_is_not_installed_says_how_to(
    bench: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench["pipe"], "ROOT", Path("/nowhere"))
    with pytest.raises(ValueError, match=r"smac is not installed in \.venv-smac; run `make rivals`"):
        bench["pipe"].installed_version("smac", "smac")


def test_a_budget_of_parts_is_counted_in_full_trainings(bench: dict[str, ModuleType]) -> None:
    parts, Asked = bench["parts"], bench["parts"].Asked
    good, bad = {"kind": "a", "rate": 0.1}, {"kind": "a", "rate": 0.6}
    wanted = [
        Asked("first", bad),
        Asked(0, good, 0.5),
        Asked(1, bad, 0.5),
        Asked(2, good, 1.0, 0),  # goes on with the half that was trained
        *(Asked(k, bad, 1.0) for k in range(3, 13)),
    ]
    told: list[float | None] = []

    class Planned:
        def ask(self) -> object:
            return wanted[len(told)]

        def tell(self, asked: object, value: float | None) -> None:
            told.append(value)

        def close(self) -> None:
            pass

    task = replace(bench["toy_catalogue"].TASKS["toy"], curve=lambda setting, share: setting["rate"] / share)
    trace = parts.run_in_parts(task, 0, 4, Planned())
    assert told == [0.6, 0.2, 1.2, 0.1, 0.6, 0.6]
    # After 1, 2, 2.5, 3.5 and 4.5 trainings: what was trained less counts for less than the default.
    assert [named[0] for named in trace.named] == [0, 0, 3, 3]
    assert trace.named[-1][1] == task.truth(good)
    with pytest.raises(ValueError, match="no learning curves"):
        parts.run_in_parts(bench["toy_catalogue"].TASKS["toy"], 0, 4, Planned())

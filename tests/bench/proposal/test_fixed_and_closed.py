"""Proposals with some values given, and with parts of the space closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gentune.bench.proposal import Key, Observation, propose
from gentune.bench.proposal.encoding import Encoding
from gentune.search_spaces.space import Parameter, SearchSpace, Setting, Value

X = Parameter("x", "float", 0.5, low=0.0, high=1.0)
N = Parameter("n", "int", 0, low=0, high=2)
KIND = Parameter("kind", "categorical", "far", choices=("far", "near"))
DEPTH = Parameter("depth", "int", 1, low=1, high=9, when={"kind": ("near",)})
SPACE = SearchSpace((X, N, KIND, DEPTH))


def proposed(
    number: int, seen: Sequence[Observation] = (), space: SearchSpace = SPACE, **options: Any
) -> dict[str, Value]:
    proposal = propose(space, seen, key=Key(0, number), default_first=False, **options)
    assert proposal is not None
    return proposal.setting


def observations() -> list[Observation]:
    """The lowest x is best where n is 0, the highest where n is 2."""
    points = [(x, i % 3) for i, x in enumerate(np.random.default_rng(0).random(18).tolist())]
    return [Observation({"x": x, "n": n, "kind": "far"}, ((n - 1) * (0.5 - x) + 2.0,)) for x, n in points]


def test_the_rest_is_chosen_given_what_is_fixed() -> None:
    seen = observations()
    assert proposed(18, seen, fixed={"n": 0, "kind": "far"})["x"] < 0.1  # type: ignore[operator]
    assert proposed(18, seen, fixed={"n": 2, "kind": "far"})["x"] > 0.9  # type: ignore[operator]
    for number, history in [(2, []), (18, seen)]:
        setting = proposed(number, history, fixed={"kind": "near", "x": 0.25})
        assert setting["x"] == 0.25
        assert "depth" in setting, "what counts under a fixed value is proposed too"
    assert proposed(0, fixed={"x": 7.0})["x"] == 1.0, "a value out of range moves to its end"


def test_every_setting_made_has_what_is_fixed() -> None:
    encoding = Encoding(SPACE, {"kind": "near", "n": 1})
    for row in encoding.snap(np.random.default_rng(0).random((50, 4))):
        setting = encoding.decode(row)
        assert (setting["kind"], setting["n"]) == ("near", 1)
    finite = Encoding(SPACE, {"x": 0.3})
    assert len(set(finite.keys(finite.stack(finite.grid())))) == 3 * (1 + 9)
    assert not list(Encoding(SPACE).grid()), "the space itself is infinite"


def test_closed_parts_are_left_alone_while_anything_else_is_left() -> None:
    space = SearchSpace((N, KIND))
    closed: list[Setting] = [{"kind": "far"}, {"n": 1, "kind": "near"}]
    seen = list[Observation]()
    for number in range(7):
        seen.append(Observation(proposed(number, seen, space, closed=closed), (float(number),)))
    tried = [(o.setting["kind"], o.setting["n"]) for o in seen]
    assert sorted(tried[:2]) == [("near", 0), ("near", 2)]
    assert len(set(tried[:6])) == 6, "then what is closed, and only then what is known"
    assert tried[6] not in {("far", n) for n in range(3)} | {("near", 1)}


def test_a_closed_part_of_an_infinite_space_does_not_end_it() -> None:
    assert proposed(3, closed=[{"kind": "far"}, {"kind": "near"}])
    assert proposed(20, observations(), fixed={"kind": "far"}, closed=[{"kind": "far"}])["kind"] == "far"

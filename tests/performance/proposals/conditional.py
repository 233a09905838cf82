"""Synthetic tasks in which some parameters count only under values of others."""

from __future__ import annotations

import math

import numpy as np
from functions import ackley, branin, hartmann3
from spaces import choice, integer, number, real
from synthetic import exact
from task import Task

from gentune.search_spaces.space import SearchSpace, Setting

KNOWN = {"tree": 0.1}


def tree_task() -> Task:
    """A binary tree of depth three with a parameter at each leaf and one shared by each half, after Jenatton et al.,
    Bayesian Optimization with Tree-structured Dependencies (2017), its optima moved off the corners."""
    space = SearchSpace(
        (
            choice("half", "left", "right"),
            choice("left_quarter", "near", "far", when={"half": ("left",)}),
            choice("right_quarter", "near", "far", when={"half": ("right",)}),
            real("left_shift", 0.0, 1.0, when={"half": ("left",)}),
            real("right_shift", 0.0, 1.0, when={"half": ("right",)}),
            real("leaf_1", -1.0, 1.0, when={"left_quarter": ("near",)}),
            real("leaf_2", -1.0, 1.0, when={"left_quarter": ("far",)}),
            real("leaf_3", -1.0, 1.0, when={"right_quarter": ("near",)}),
            real("leaf_4", -1.0, 1.0, when={"right_quarter": ("far",)}),
        )
    )
    offsets = {"leaf_1": 0.2, "leaf_2": 0.35, "leaf_3": 0.1, "leaf_4": 0.25}
    optima = {"leaf_1": 0.31, "leaf_2": -0.62, "leaf_3": -0.43, "leaf_4": 0.74}

    def truth(setting: Setting) -> float:
        leaf = next(name for name in setting if name.startswith("leaf"))
        shift = (
            abs(number(setting, "left_shift") - 0.37)
            if "left_shift" in setting
            else (1.6 * abs(number(setting, "right_shift") - 0.83))
        )
        return offsets[leaf] + (number(setting, leaf) - optima[leaf]) ** 2 + shift

    return exact("tree", "conditional", space, truth)


def branches_task() -> Task:
    """Another function of other parameters under each branch; the branch with the best setting has not the
    best median."""
    space = SearchSpace(
        (
            choice("branch", "branin", "ackley", "hartmann"),
            real("b1", -5.0, 10.0, when={"branch": ("branin",)}),
            real("b2", 0.0, 15.0, when={"branch": ("branin",)}),
            real("a1", -4.0, 5.0, when={"branch": ("ackley",)}),
            integer("a2", -6, 8, when={"branch": ("ackley",)}),
            *(real(f"h{i}", 0.0, 1.0, when={"branch": ("hartmann",)}) for i in (1, 2, 3)),
            real("shared", 0.01, 100.0, log=True),
        )
    )

    def truth(setting: Setting) -> float:
        branch = setting["branch"]
        if branch == "branin":
            value = 0.55 * math.log1p(branin(np.array([number(setting, "b1"), number(setting, "b2")]))) + 0.25
            optimum = 0.6
        elif branch == "ackley":
            value = 0.35 * ackley(np.array([number(setting, "a1") - 1.37, number(setting, "a2") - 2])) + 0.1
            optimum = -0.9
        else:
            value = 0.8 * (hartmann3(np.array([number(setting, f"h{i}") for i in (1, 2, 3)])) + 3.8627798)
            optimum = 0.25
        return value + 0.25 * (math.log10(number(setting, "shared")) - optimum) ** 2

    return exact("branches", "conditional", space, truth)


def optimiser_choice_task() -> Task:
    """A made-up loss: momentum counts under `momentum`, the betas under `adam`, the warm-up under `cosine`; the best
    learning rate depends on the optimiser and its momentum."""
    space = SearchSpace(
        (
            choice("optimiser", "sgd", "momentum", "adam"),
            real("learning_rate", 1e-5, 1.0, log=True),
            real("weight_decay", 1e-6, 1e-1, log=True),
            real("momentum", 0.3, 0.99, when={"optimiser": ("momentum",)}),
            real("one_minus_beta1", 1e-3, 0.7, log=True, when={"optimiser": ("adam",)}),
            real("one_minus_beta2", 1e-5, 0.2, log=True, when={"optimiser": ("adam",)}),
            choice("schedule", "constant", "cosine"),
            real("warm_up", 0.0, 0.5, when={"schedule": ("cosine",)}),
        )
    )

    def truth(setting: Setting) -> float:
        rate, decay = (math.log10(number(setting, name)) for name in ("learning_rate", "weight_decay"))
        if setting["optimiser"] == "sgd":
            value, best = 0.42, -0.7
        elif setting["optimiser"] == "momentum":
            keep = math.log10(1 - number(setting, "momentum"))
            value, best = 0.17 + 0.25 * (keep + 1.1) ** 2, -0.9 + keep
        else:
            beta1, beta2 = (math.log10(number(setting, f"one_minus_beta{i}")) for i in (1, 2))
            value, best = 0.08 + 0.3 * (beta1 + 0.8) ** 2 + 0.06 * (beta2 + 2.2) ** 2, -2.9
        if setting["schedule"] == "cosine":
            value += 1.6 * (number(setting, "warm_up") - 0.13) ** 2
            best += 0.3
        else:
            value += 0.12
        off = rate - best
        return value + (0.35 * off**2 if off < 0 else 0.9 * off**2) / (1 + 0.2 * off**2) + 0.04 * (decay + 3.3) ** 2

    return exact("optimiser_choice", "conditional", space, truth)


def layers_task() -> Task:
    """A made-up loss of a network of one to four layers, each with a width that exists only with its layer."""
    space = SearchSpace(
        (
            integer("layers", 1, 4),
            integer("width_1", 8, 512, log=True),
            *(integer(f"width_{i}", 8, 512, log=True, when={"layers": tuple(range(i, 5))}) for i in (2, 3, 4)),
            choice("activation", "relu", "tanh", "elu"),
            real("slope", 0.1, 3.0, log=True, when={"activation": ("elu",)}),
            real("learning_rate", 1e-5, 1e-1, log=True),
        )
    )
    wanted = {1: (7.9,), 2: (7.3, 5.6), 3: (6.8, 6.1, 4.9), 4: (6.6, 6.2, 5.9, 5.3)}

    def truth(setting: Setting) -> float:
        layers = round(number(setting, "layers"))
        widths = [math.log2(number(setting, f"width_{i}")) for i in range(1, layers + 1)]
        off = sum((w - best) ** 2 for w, best in zip(widths, wanted[layers], strict=True)) / layers**0.7
        value = {1: 0.5, 2: 0.22, 3: 0.1, 4: 0.19}[layers] + 0.07 * off
        if setting["activation"] == "elu":
            value += 0.2 * (math.log10(number(setting, "slope")) + 0.23) ** 2
        else:
            value += {"relu": 0.07, "tanh": 0.16}[str(setting["activation"])]
        rate_off = math.log10(number(setting, "learning_rate")) + 2.6 + 0.25 * layers
        return value + 0.4 * min(rate_off**2, 1.0 + abs(rate_off) / 2)

    return exact("layers", "conditional", space, truth)


BUILDERS = {
    "tree": tree_task,
    "branches": branches_task,
    "optimiser_choice": optimiser_choice_task,
    "layers": layers_task,
}

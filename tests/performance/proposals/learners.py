"""scikit-learn's models on parts of scikit-learn's data sets, cross-validated, after Turner et al., Bayesian
Optimization is Superior to Random Search for Machine Learning Hyperparameter Tuning (2021).

Losses are log losses in nats (of probabilities within [0.001, 0.999]), error rates, or squared errors over the
targets' variance. Each evaluation takes some 10 to 100 ms the first time, and is kept in the cache (see `memo`).
Defaults are scikit-learn's, or moved away where those are nearly the best.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import sklearn
from memo import Memo
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import SVC
from spaces import choice, integer, number, real, whole
from task import FailedTrial, Kind, Task

from gentune.search_spaces.space import SearchSpace, Setting

KNOWN: dict[str, float] = {}
_VERSION = f"2-sklearn{sklearn.__version__}"

Score = Literal["log_loss", "log_log_loss", "error", "squared"]
Build = Callable[[Setting], Any]
Data = tuple[np.ndarray, np.ndarray]


def mlp_digits_task() -> Task:
    """A small network by Adam on digits, 15 epochs at most; the logarithm of two folds' log loss: most settings
    hardly learn, which would put nearly all of the rest near a regret of none."""
    space = SearchSpace(
        (
            real("learning_rate", 1e-4, 0.3, log=True, default=1e-3),
            real("alpha", 1e-6, 10.0, log=True, default=1e-4),
            integer("width", 2, 64, log=True, default=50),
            integer("batch_size", 8, 100, log=True, default=100),
            choice("activation", "relu", "tanh", "logistic", "identity"),
            integer("epochs", 2, 15, default=8),
        )
    )

    def build(setting: Setting) -> MLPClassifier:
        return MLPClassifier(
            hidden_layer_sizes=(whole(setting, "width"),),
            activation=setting["activation"],
            alpha=number(setting, "alpha"),
            learning_rate_init=number(setting, "learning_rate"),
            batch_size=whole(setting, "batch_size"),
            max_iter=whole(setting, "epochs"),
            random_state=0,
        )

    return _mean_of_folds("mlp_digits", "mixed", space, build, _scaled(load_digits, 240), "log_log_loss", 2)


def boosting_diabetes_task() -> Task:
    """Gradient-boosted trees on diabetes; squared error of three folds."""
    space = SearchSpace(
        (
            real("learning_rate", 1e-3, 1.0, log=True, default=0.03),
            integer("trees", 5, 80, log=True, default=20),
            integer("depth", 1, 6, default=3),
            real("subsample", 0.2, 1.0, default=1.0),
            integer("leaf", 1, 50, log=True, default=1),
            choice("loss", "squared_error", "absolute_error", "huber"),
            choice("features", "all", "sqrt", "third"),
        )
    )
    features: dict[object, str | float | None] = {"all": None, "sqrt": "sqrt", "third": 1 / 3}

    def build(setting: Setting) -> GradientBoostingRegressor:
        return GradientBoostingRegressor(
            learning_rate=number(setting, "learning_rate"),
            n_estimators=whole(setting, "trees"),
            max_depth=whole(setting, "depth"),
            subsample=number(setting, "subsample"),
            min_samples_leaf=whole(setting, "leaf"),
            loss=setting["loss"],
            max_features=features[setting["features"]],
            random_state=0,
        )

    return _mean_of_folds("boosting_diabetes", "mixed", space, build, _scaled(load_diabetes, 240), "squared", 3)


def noisy_forest_task() -> Task:
    """A random forest on breast cancer: a trial sees the log loss on one fold of five; the truth is their mean."""
    space = SearchSpace(
        (
            integer("trees", 2, 16, log=True, default=4),
            integer("depth", 1, 12, default=3),
            integer("leaf", 1, 40, log=True, default=1),
            real("features", 0.03, 1.0, log=True, default=0.18),
            real("samples", 0.1, 1.0, default=0.5),
            choice("criterion", "gini", "entropy"),
        )
    )

    def build(setting: Setting) -> RandomForestClassifier:
        return RandomForestClassifier(
            n_estimators=whole(setting, "trees"),
            max_depth=whole(setting, "depth"),
            min_samples_leaf=whole(setting, "leaf"),
            max_features=number(setting, "features"),
            max_samples=number(setting, "samples"),
            criterion=setting["criterion"],
            random_state=0,
        )

    folds, data = 5, _scaled(load_breast_cancer, 569)
    losses = _folds("noisy_forest", build, data, "log_loss", folds)

    def measure(setting: Setting, generator: np.random.Generator) -> float:
        return losses(setting, int(generator.integers(folds)))

    return Task("noisy_forest", "noisy", space, measure, partial(_mean, losses, folds))


def failing_sgd_task() -> Task:
    """A network by plain stochastic gradient descent on unscaled targets, which diverges where the step is large;
    squared error of two folds, failed also where it is above a hundred times the variance."""
    space = SearchSpace(
        (
            real("learning_rate", 1e-4, 10.0, log=True, default=3e-4),
            real("momentum", 0.0, 0.99, default=0.0),
            real("alpha", 1e-4, 100.0, log=True, default=1e-2),
            integer("width", 4, 64, log=True, default=32),
            choice("activation", "relu", "tanh", "logistic"),
        )
    )

    def build(setting: Setting) -> MLPRegressor:
        return MLPRegressor(
            solver="sgd",
            hidden_layer_sizes=(whole(setting, "width"),),
            activation=setting["activation"],
            alpha=number(setting, "alpha"),
            learning_rate_init=number(setting, "learning_rate"),
            momentum=number(setting, "momentum"),
            nesterovs_momentum=False,
            batch_size=20,
            max_iter=12,
            random_state=0,
        )

    return _mean_of_folds("failing_sgd", "failing", space, build, _scaled(load_diabetes, 240), "squared", 2)


def svc_digits_task() -> Task:
    """A support vector machine on digits, the parameters of each kernel under it; error of two folds."""
    curved, shifted = {"kernel": ("rbf", "poly", "sigmoid")}, {"kernel": ("poly", "sigmoid")}
    space = SearchSpace(
        (
            choice("kernel", "rbf", "linear", "poly", "sigmoid"),
            real("C", 1e-3, 1e3, log=True, default=1.0),
            real("gamma", 1e-5, 1.0, log=True, default=1 / 64, when=curved),
            integer("degree", 2, 5, default=3, when={"kernel": ("poly",)}),
            real("coef0", -2.0, 2.0, default=0.0, when=shifted),
        )
    )

    def build(setting: Setting) -> SVC:
        return SVC(**dict(setting), max_iter=3000, random_state=0)

    return _mean_of_folds("svc_digits", "conditional", space, build, _scaled(load_digits, 400), "error", 2)


def algorithm_parity_task() -> Task:
    """Four algorithms with parameters of their own, to tell even digits from odd ones; log loss of two folds."""
    space = SearchSpace(
        (
            choice("algorithm", "forest", "neighbours", "logistic", "network"),
            integer("trees", 2, 24, log=True, default=10, when={"algorithm": ("forest",)}),
            integer("depth", 1, 12, default=6, when={"algorithm": ("forest",)}),
            integer("neighbours", 4, 60, log=True, default=5, when={"algorithm": ("neighbours",)}),
            choice("weights", "uniform", "distance", when={"algorithm": ("neighbours",)}),
            real("C", 1e-4, 1e3, log=True, default=1.0, when={"algorithm": ("logistic",)}),
            real("alpha", 1e-5, 10.0, log=True, default=1e-4, when={"algorithm": ("network",)}),
            real("learning_rate", 1e-4, 0.1, log=True, default=1e-3, when={"algorithm": ("network",)}),
            integer("width", 4, 64, log=True, default=32, when={"algorithm": ("network",)}),
        )
    )

    def build(setting: Setting) -> Any:
        if setting["algorithm"] == "forest":
            trees, depth = whole(setting, "trees"), whole(setting, "depth")
            return RandomForestClassifier(n_estimators=trees, max_depth=depth, random_state=0)
        if setting["algorithm"] == "neighbours":
            return KNeighborsClassifier(whole(setting, "neighbours"), weights=setting["weights"])
        if setting["algorithm"] == "logistic":
            return LogisticRegression(C=number(setting, "C"), max_iter=25)
        return MLPClassifier(
            hidden_layer_sizes=(whole(setting, "width"),),
            alpha=number(setting, "alpha"),
            learning_rate_init=number(setting, "learning_rate"),
            max_iter=12,
            batch_size=32,
            random_state=0,
        )

    features, digits = _scaled(load_digits, 300)
    return _mean_of_folds("algorithm_parity", "conditional", space, build, (features, digits % 2), "log_loss", 2)


def _scaled(load: Callable[..., Data], size: int) -> Data:
    """A fixed random part of a data set, (n, d) and (n,), its columns standardised."""
    features, targets = load(return_X_y=True)
    kept = np.random.default_rng(0).permutation(len(features))[:size]
    features = features[kept]
    deviation = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0), targets[kept]


def _mean_of_folds(name: str, kind: Kind, space: SearchSpace, build: Build, data: Data, score: Score, n: int) -> Task:
    truth = partial(_mean, _folds(name, build, data, score, n), n)
    return Task(name, kind, space, lambda setting, generator: truth(setting), truth)


def _mean(losses: Callable[[Setting, int], float], folds: int, setting: Setting) -> float:
    return float(np.mean([losses(setting, fold) for fold in range(folds)]))


def _folds(name: str, build: Build, data: Data, score: Score, n: int) -> Callable[[Setting, int], float]:
    """The loss at a setting on one of n folds, from the cache where it is known. Raises FailedTrial."""
    features, targets = data
    splitter = KFold if score == "squared" else StratifiedKFold
    parts = list(splitter(n, shuffle=True, random_state=0).split(features, targets))
    memo = Memo(name, _VERSION)

    def losses(setting: Setting, fold: int) -> float:
        train, test = parts[fold]

        def compute() -> float | None:
            return _fit(build(setting), features[train], targets[train], features[test], targets[test], score)

        loss = memo.loss(setting, fold, compute)
        if loss is None:
            raise FailedTrial("diverged")
        return loss

    return losses


def _fit(
    model: Any, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, score: Score
) -> float | None:
    """The loss on held-out data of a model trained on (x, y); None where the training diverged."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            model.fit(x, y)
        except ValueError as error:
            if "non-finite" in str(error):
                return None
            raise
        if score == "squared":
            loss = float(np.mean((model.predict(x_test) - y_test) ** 2) / np.var(y))
            return loss if math.isfinite(loss) and loss < 100 else None
        if score == "error":
            return float(np.mean(model.predict(x_test) != y_test))
        chances = np.clip(model.predict_proba(x_test), 1e-3, 1 - 1e-3)
        loss = float(log_loss(y_test, chances / chances.sum(axis=1, keepdims=True), labels=model.classes_))
        return math.log(loss) if score == "log_log_loss" else loss


BUILDERS = {
    "mlp_digits": mlp_digits_task,
    "boosting_diabetes": boosting_diabetes_task,
    "noisy_forest": noisy_forest_task,
    "failing_sgd": failing_sgd_task,
    "svc_digits": svc_digits_task,
    "algorithm_parity": algorithm_parity_task,
}

"""Arrays or lists of series come in, as scikit-learn hands them; fitted estimators go out.

N examples, T time, I input features, K classes or values. `Classify` is the network and `train` the
loop: these classes only speak scikit-learn's language.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from unrolled import checkpoint
from unrolled.data import Dataset, from_arrays
from unrolled.errors import ModelError, ShapeError, UsageError
from unrolled.optimise import Settings
from unrolled.tasks import load
from unrolled.tasks.classify import Classify
from unrolled.train import train

FEWEST = 10  # of fewer examples none is held out for validation


class _Estimator(BaseEstimator):
    """What both have in common: parameters, `fit`, `save` and `load`."""

    def __init__(
        self,
        cell: Any = "lstm",
        hidden: int = 128,
        layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        pooling: str = "last",
        epochs: int = 30,
        batch: int = 64,
        lr: float = 0.003,
        valid: float | int = 0.1,
        patience: int = 8,
        class_weights: Any = "none",
        scale: str | None = None,
        missing: str = "error",
        seed: int = 0,
        backend: str = "auto",
        device: str = "auto",
        verbose: bool = False,
        options: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
    ):
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.pooling = pooling
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.valid = valid
        self.patience = patience
        self.class_weights = class_weights
        self.scale = scale
        self.missing = missing
        self.seed = seed
        self.backend = backend
        self.device = device
        self.verbose = verbose
        self.options = options
        self.settings = settings

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = self.missing == "mask"
        return tags

    def _fit(self, inputs: Any, targets: np.ndarray, kind: str, labels: list[str]) -> None:
        count = len(inputs)
        valid: Any = _plain(self.valid)
        if isinstance(valid, float) and 0 < valid < 1:
            valid = max(1, round(valid * count)) if count >= FEWEST else 0
        dataset = from_arrays(
            inputs,
            targets,
            kind=kind,
            labels=[str(k) for k in range(len(labels))] if kind == "single" else None,
            valid=valid,
            seed=_plain(self.seed),
            scale=self.scale,
            missing=self.missing,
        )
        dataset = replace(dataset, labels=labels)
        self._train(dataset)

    def _train(self, dataset: Dataset) -> None:
        settings = {
            "epochs": self.epochs,
            "batch": self.batch,
            "lr": self.lr,
            "patience": self.patience if len(dataset.valid) else 0,
            "seed": self.seed,
            "device": self.device,
            **(self.settings or {}),
        }
        chosen = Settings(**{name: _plain(value) for name, value in settings.items()})
        task = Classify.for_dataset(
            dataset,
            cell=self.cell,
            hidden=_plain(self.hidden),
            layers=_plain(self.layers),
            bidirectional=_plain(self.bidirectional),
            dropout=_plain(self.dropout),
            pooling=self.pooling,
            class_weights=self.class_weights,
            seed=_plain(self.seed),
            backend=self.backend,
            **(self.options or {}),
        )
        result = train(task, dataset, chosen, progress=bool(self.verbose))
        self.task_, self.history_ = task, result.epochs
        self.n_iter_, self.best_epoch_ = len(result.epochs), result.best_epoch

    def _inputs(self, X: Any, *, reset: bool) -> Any:
        """X checked as scikit-learn does where it is an array, else as series of many lengths."""
        finite = "allow-nan" if self.missing == "mask" else True
        if _is_ragged(X):
            inputs: Any = [np.asarray(one) for one in X]
            width = inputs[0].shape[1] if inputs[0].ndim == 2 else 1
        elif (np.ndim(X) if isinstance(X, list | tuple) else getattr(X, "ndim", 2)) == 3:
            images = getattr(X, "dtype", None) == np.uint8
            inputs = check_array(
                X,
                allow_nd=True,
                ensure_2d=False,
                dtype=None if images else [np.float32, np.float64],
                ensure_all_finite=finite,
                input_name="X",
                estimator=self,
            )
            width = inputs.shape[2]
        else:
            return validate_data(
                self, X, reset=reset, dtype=[np.float32, np.float64], ensure_all_finite=finite
            )
        if reset:
            self.n_features_in_ = width
            self.__dict__.pop("feature_names_in_", None)
        elif width != self.n_features_in_:
            raise ShapeError(
                "X",
                expected=f"{self.n_features_in_} features a step, as in fit",
                got=width,
                fix="Give predict what fit was given.",
            )
        return inputs

    def _guess(self, X: Any):
        check_is_fitted(self, "task_")
        inputs = self._inputs(X, reset=False)
        if isinstance(inputs, np.ndarray) and inputs.ndim == 2:
            inputs = inputs[:, :, None]
        if isinstance(inputs, list):
            inputs = [one[:, None] if one.ndim == 1 else one for one in inputs]
        return self.task_.predict(inputs)

    def save(self, path: str | Path) -> Path:
        """Write a model directory that `load`, `unrolled eval` and `unrolled predict` read.

        Raises:
            NotFittedError: there is nothing to save yet.
            ModelError: something else stands there, or the disk refuses.
        """
        check_is_fitted(self, "task_")
        params = {name: _plain(value) for name, value in self.get_params(deep=False).items()}
        params["cell"] = self.task_.model.recurrent.cell.name
        kept = {"params": params, "features": int(self.n_features_in_), **self._kept()}
        return checkpoint.save(path, self.task_, run={"estimator": kept})

    def _kept(self) -> dict[str, Any]:
        return {}

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu", backend: str = "auto"):
        """The estimator in a model directory, of `save` or of `unrolled train`, ready to predict.

        Raises:
            ModelError: the directory is broken, or holds another kind of model.
        """
        task = load(path, device=device, backend=backend)
        wanted = ("regression",) if issubclass(cls, RegressorMixin) else ("single", "multi")
        if task.kind not in wanted:
            raise ModelError(
                f"{path}", expected=f"a model of kind {' or '.join(wanted)}", got=task.kind
            )
        kept = checkpoint.read(path).config["run"].get("estimator")
        kept = kept if isinstance(kept, dict) else {}
        params = kept.get("params")
        names = set(cls._get_param_names())
        params = params if isinstance(params, dict) else {}
        made = cls(**{name: value for name, value in params.items() if name in names})
        made.task_, made.history_ = task, []
        made.n_features_in_ = kept.get("features", task.preparation.channels)
        made._restore(kept)
        return made

    def _restore(self, kept: dict[str, Any]) -> None:
        pass


class Classifier(ClassifierMixin, _Estimator):
    """A recurrent network that gives each sequence one label of K, or several.

    X is (N, T, I), (N, T) with one feature a step, a list of N series (Tᵢ, I), or images uint8
    (N, H, W). y is (N) of any labels, or (N, K) of 0 and 1 for several labels each.

    Args:
        cell: a name of the catalogue, `FILE.py:Class`, or a class.
        hidden: H, units of a layer and direction.
        layers: L.
        bidirectional: whether the sequence is read in both directions.
        dropout: between layers.
        pooling: how time is summed up: last, step, mean, max, attention.
        epochs: at most so many passes.
        batch: examples a step.
        lr: the learning rate at its peak.
        valid: share or number of examples held out to stop and to calibrate; of fewer than ten
            examples no share is held out.
        patience: epochs without a better score before stopping; 0 for none.
        class_weights: "none", "balanced", or one number a class.
        scale: "none", "unit" or "standard" (the default for series).
        missing: "error", or "mask" to read NaN as missing.
        seed: of weights, order and dropout.
        backend: of the recurrent layers.
        device: "auto", "cpu", "cuda".
        verbose: whether to say how training goes.
        options: further options of `Recurrent`, such as {"zoneout": 0.1}.
        settings: further settings of training, such as {"schedule": "constant"}.

    Attributes:
        classes_: labels, in the order of the columns of `predict_proba`.
        n_features_in_: T of (N, T), else I.
        task_: the trained `Classify`.
        history_: figures of each epoch.

    Raises:
        ValueError: X, y or a parameter is not what it should be.

    Example:
        >>> x = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 0], [1, 1, 0]] * 5)
        >>> y = ["up", "up", "down", "down"] * 5
        >>> model = Classifier(cell="gru", hidden=8, epochs=30, lr=0.05).fit(x, y)
        >>> model.predict(x[:4]).tolist()
        ['up', 'up', 'down', 'down']
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any) -> "Classifier":
        """Train a new network; returns the estimator."""
        inputs = self._inputs(X, reset=True)
        if y is None:
            raise _no_y(self)
        check_consistent_length(inputs, y)
        check_classification_targets(y)
        if type_of_target(y) == "multilabel-indicator":
            several = check_array(y, accept_sparse=False, input_name="y")
            self.classes_ = np.arange(several.shape[1])
            self._fit(inputs, several, "multi", [str(k) for k in self.classes_])
            return self
        y = column_or_1d(y, warn=True)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise UsageError(
                "y",
                expected="at least 2 classes",
                got=f"1 class, {str(self.classes_[0])!r}",
                fix="Add examples of another class.",
            )
        self._fit(inputs, targets, "single", [str(label) for label in self.classes_])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels (N), or 0 and 1 (N, K) where several are possible."""
        guess = self._guess(X)
        if self.task_.kind == "multi":
            return guess.index.astype(np.int64)
        return self.classes_[guess.index]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, K), calibrated on the examples held out."""
        return self._guess(X).values

    def _kept(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist(), "dtype": self.classes_.dtype.str}

    def _restore(self, kept: dict[str, Any]) -> None:
        classes = kept.get("classes", self.task_.labels)
        if self.task_.kind == "multi":
            classes = list(range(len(self.task_.labels)))
        if not isinstance(classes, list) or len(classes) != len(self.task_.labels):
            raise ModelError(
                "the classes of the model",
                expected=f"{len(self.task_.labels)} of them",
                got=repr(classes)[:80],
            )
        plain = kept.get("dtype") == "|O"
        self.classes_ = np.array(classes, dtype=object if plain else None)


class Regressor(RegressorMixin, _Estimator):
    """A recurrent network that predicts one value, or K, of each sequence.

    X and the parameters are those of `Classifier` (`class_weights` has to stay "none"); y is (N) or
    (N, K) of numbers.

    Raises:
        ValueError: X, y or a parameter is not what it should be.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(40, 5))
        >>> model = Regressor(cell="gru", hidden=8, epochs=2).fit(x, x.sum(axis=1))
        >>> model.predict(x).shape
        (40,)
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> "Regressor":
        """Train a new network; returns the estimator."""
        inputs = self._inputs(X, reset=True)
        if y is None:
            raise _no_y(self)
        check_consistent_length(inputs, y)
        targets = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        self._one = targets.ndim == 1 or targets.shape[1] == 1
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = column_or_1d(targets, warn=True)
        labels = ["value"] if self._one else [str(k) for k in range(targets.shape[1])]
        self._fit(inputs, targets, "regression", labels)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Values (N), or (N, K) where y had K columns."""
        values = self._guess(X).values.astype(np.float64)
        return values[:, 0] if self._one else values

    def _restore(self, kept: dict[str, Any]) -> None:
        self._one = len(self.task_.labels) == 1


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _is_ragged(X: Any) -> bool:
    """Whether X is a list of arrays of two axes, or of one axis and several lengths."""
    if not isinstance(X, list | tuple) or not X:
        return False
    shapes = {np.shape(one) if isinstance(one, np.ndarray) else () for one in X}
    return all(len(s) == 2 for s in shapes) or (
        len(shapes) > 1 and all(len(s) == 1 for s in shapes)
    )


def _no_y(estimator: BaseEstimator) -> UsageError:
    name = type(estimator).__name__
    return UsageError(f"This {name} estimator requires y to be passed, but the target y is None")

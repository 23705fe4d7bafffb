"""scikit-learn's own checks of its conventions, run on `Classifier` and `Regressor`."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from unrolled import Classifier, Regressor, tasks
from unrolled.errors import ModelError

TINY = {"cell": "rnn", "hidden": 8, "epochs": 12, "batch": 16, "lr": 0.05, "patience": 0}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the checks hand over what warns on purpose
@parametrize_with_checks(
    [Classifier().set_params(**TINY), Regressor().set_params(**TINY)],
)
def test_scikit_learns_check(estimator, check):
    check(estimator)


X = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 0], [1, 1, 0]] * 5)
Y = ["up", "up", "down", "down"] * 5
QUICK = {"cell": "gru", "hidden": 8, "epochs": 30, "lr": 0.05, "batch": 8}


def test_what_was_saved_answers_the_same_and_is_a_model_directory(tmp_path):
    model = Classifier(**QUICK).fit(X, Y)
    assert model.score(X, Y) == 1
    again = Classifier.load(model.save(tmp_path / "m"))
    assert (again.predict_proba(X) == model.predict_proba(X)).all()
    assert again.predict(X).tolist() == Y
    assert tasks.load(tmp_path / "m").predict(X[:1, :, None]).names == ["up"]
    with pytest.raises(ModelError, match="of kind regression, got single"):
        Regressor.load(tmp_path / "m")


def test_several_labels_and_series_of_many_lengths():
    both = np.stack([X[:, 0], 1 - X[:, 0]], axis=1).astype(int)
    assert Classifier(**QUICK).fit(X, both).score(X, both) == 1
    ragged = [X[i, : 2 + i % 2, None] for i in range(20)]
    assert Classifier(**QUICK).fit(ragged, Y).score(ragged, Y) == 1


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="at least 2 classes, got 1 class, 'up'"):
        Classifier(**QUICK).fit(X, ["up"] * 20)
    with pytest.raises(ValueError, match="contains NaN"):
        Classifier(**QUICK).fit(np.where(X == 1, np.nan, X), Y)
    with pytest.raises(ValueError, match="1 features a step, as in fit, got 2"):
        Classifier(**{**QUICK, "epochs": 1}).fit(X[:, :, None], Y).predict(np.zeros((2, 3, 2)))

"""Neighbours at exactly equal distances: compared apart, and every difference must be explained by them."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from setsail.convert.conversion import Intent
from setsail.convert.sklearn.model import convert
from setsail.convert.sklearn.ties import tied

# Four training rows on a square around the origin: from its middle all are equally far.
CORNERS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
ROWS = np.array([[0.0, 0.0], [0.9, 0.8], [3.0, 1.0]])


def test_the_middle_of_a_square_is_tied() -> None:
    model = KNeighborsClassifier(n_neighbors=2).fit(CORNERS, [0, 0, 1, 1])
    mask, span = tied(model, ROWS)
    assert mask.tolist() == [True, False, False]
    assert span == 1.0  # both of two places are tied


def test_one_tied_place_of_three_explains_a_third() -> None:
    model = KNeighborsClassifier(n_neighbors=3).fit(
        np.vstack([CORNERS * 2, [[0.1, 0.0], [0.0, 0.1]]]), [0, 0, 1, 1, 0, 1]
    )
    mask, span = tied(model, ROWS[:1])
    assert mask.tolist() == [True]
    assert span == pytest.approx(1 / 3)


def test_a_regressor_may_move_by_its_targets() -> None:
    _, span = tied(KNeighborsRegressor(n_neighbors=1).fit(CORNERS, [0.0, 10.0, 20.0, 30.0]), ROWS)
    assert span == 30.0


def test_behind_a_scaler_distances_are_the_scaled_ones() -> None:
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(n_neighbors=2)).fit(CORNERS * [1, 100], [0, 0, 1, 1])
    assert tied(model, ROWS)[0].tolist() == [True, False, False]


def test_other_models_have_no_ties() -> None:
    assert tied(LogisticRegression().fit(CORNERS, [0, 0, 1, 1]), ROWS) is None


def test_tied_rows_are_probes_of_their_own() -> None:
    model = KNeighborsClassifier(n_neighbors=2).fit(CORNERS, [0, 0, 1, 1])
    probes = convert(model, Intent(example=ROWS)).probes
    assert [len(p.outputs["label"]) for p in probes if p.what == "example"] == [2]
    assert next(len(p.outputs["label"]) for p in probes if p.what == "tied") == 1

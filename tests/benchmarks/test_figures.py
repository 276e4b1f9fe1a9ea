import pytest
from benchmarks.figures import load_of, medians, percentile, rotated, shown


@pytest.mark.parametrize(
    ("values", "share", "wanted"),
    [
        ([5.0], 0.5, 5.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 102)), 0.99, 100),  # 99.99 values of 101 are not enough
        ([1.0, 2.0, 3.0], 1.0, 3.0),
    ],
)
def test_a_percentile_is_the_smallest_value_that_covers_its_share(
    values: list[float], share: float, wanted: float
) -> None:
    assert percentile(values, share) == wanted


def test_a_window_without_answers_has_no_latency() -> None:
    load = load_of([], 0, 0.0, 3, "wrk")
    assert load.p50_ms != load.p50_ms
    assert load.errors == 3


def test_odd_rounds_go_backwards() -> None:
    assert [rotated("abc", turn) for turn in range(3)] == [list("abc"), list("cba"), list("abc")]


def test_rounds_become_medians_and_errors_add_up() -> None:
    rounds = [
        {"rate": 10.0, "p50_ms": 1.0, "errors": 0},
        {"rate": 30.0, "p50_ms": 9.0, "errors": 2},
        {"rate": 20.0, "p50_ms": 2.0, "errors": 1},
    ]
    assert medians(rounds) == {
        "rounds": 3, "rate": 20.0, "rate_min": 10.0, "rate_max": 30.0, "p50_ms": 2.0, "errors": 3,
    }  # fmt: skip


def test_figures_that_a_server_does_not_have_are_left_out() -> None:
    assert medians([{"rate": 1.0, "pss_mb": None}]) == {"rounds": 1, "rate": 1.0, "rate_min": 1.0, "rate_max": 1.0}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0312, "0.031"), (1.5, "1.50"), (15.24, "15.2"), (152.4, "152"), (15240.0, "15,240")],
)
def test_three_digits_are_shown(value: float, text: str) -> None:
    assert shown(value) == text

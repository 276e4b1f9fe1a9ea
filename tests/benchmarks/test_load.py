import pytest
from benchmarks.load import parsed_h2load

PRINTED = """
finished in 2.00s, {rate} req/s, 1.2MB/s
requests: {total} total, {total} started, {total} done, {total} succeeded, 1 failed, 1 errored, 0 timeout
status codes: {total} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 2.44MB (2558000) total, 58.6KB (60000) headers (space savings 90.00%), 1.2MB ({data}) data
"""


def test_what_h2load_says() -> None:
    load = parsed_h2load(PRINTED.format(rate="1234.50", total=2469, data=200_000), [0.001, 0.002, 0.003])
    assert (load.requests, load.rate, load.errors) == (2469, 1234.5, 1)
    assert (load.p50_ms, load.p99_ms) == (2.0, 3.0)


def test_grpc_errors_come_as_200_without_a_message() -> None:
    load = parsed_h2load(PRINTED.format(rate="1234.50", total=2469, data=0), [0.001])
    assert (load.requests, load.rate, load.errors) == (0, 0.0, 2470)


def test_a_program_that_failed_is_no_result() -> None:
    with pytest.raises(RuntimeError, match="refused"):
        parsed_h2load("connection refused", [])

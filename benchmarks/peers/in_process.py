"""The limit of onnxruntime: $WORKERS processes that run the session in a loop and do nothing else.

`in_process.py CASES SECONDS` prints one line of JSON: runs a second, CPU seconds, milliseconds a run.
"""

import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from program import Program


def measured(cases, seconds):
    program = Program()
    with np.load(cases) as archive:
        numbers = sorted({int(entry.partition("/")[0]) for entry in archive.files})
        feeds = [{name: archive[f"{number}/{name}"] for name in program.inputs} for number in numbers]
    for feed in feeds:
        program.run(feed)
    times, cpu, begin = [], time.process_time(), time.perf_counter()
    before, turn = begin, 0
    while before - begin < seconds:
        program.run(feeds[turn % len(feeds)])
        now = time.perf_counter()
        times.append(now - before)
        before, turn = now, turn + 1
    return turn, before - begin, time.process_time() - cpu, times


if __name__ == "__main__":
    workers, (_, cases, seconds) = int(os.environ["WORKERS"]), sys.argv
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        # a first round starts the processes and loads the model in each
        list(pool.map(measured, [cases] * workers, [0.2] * workers))
        found = list(pool.map(measured, [cases] * workers, [float(seconds)] * workers))
    times = sorted(second for run in found for second in run[3])
    print(
        json.dumps(
            {
                "requests": sum(run[0] for run in found),
                "rate": sum(run[0] / run[1] for run in found),
                "cpu_seconds": sum(run[2] for run in found),
                "p50_ms": times[len(times) // 2] * 1000,
                "p99_ms": times[int(len(times) * 0.99)] * 1000,
            }
        )
    )

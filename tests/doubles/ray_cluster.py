"""A script for Ray's own interpreter: two nodes on this machine, what we shipped on them, one killed under load.

    python ray_cluster.py FOLDER REQUESTS SECONDS

FOLDER is what `setsail ship --to ray` wrote; REQUESTS a JSON file of `[{"path", "body" (latin-1), "headers"}]`. Prints
one line of JSON: `wires`, each request's status and body as the application answers it; `load`, how often what was
answered while the second node was killed, and `after` the part of it that was asked then; `placed`, replicas of Models
a node before; `held`, requests that were with the second node's replicas when it went; `again`, requests that the door
gave to a second replica; `slow`, percentiles in ms.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import ray
import yaml
from ray import serve
from ray.cluster_utils import Cluster
from ray.serve import context

STORE = 80 << 20
CLIENTS = 16
HELD = 15.0  # the longest to wait until a request is with a replica that stands still; the door gives up after 30
PORT = 18_230


def main(folder: Path, requests: list[dict], seconds: float) -> dict:
    cluster = Cluster()
    start(cluster, include_dashboard=False)
    second = start(cluster)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        config = yaml.safe_load((folder / "serve.yaml").read_text())
        # both nodes have this machine's address: one proxy, on the node that lives
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": PORT})
        client = context._get_global_client()
        client.deploy_apps(_schema(config), _blocking=False)
        replicas = wait_for_all(client)
        placed = sorted(Counter(r["node_id"] for r in replicas).values())
        doomed = [r["pid"] for r in replicas if r["node_id"] == second.node_id]
        wires = [ask(HTTPConnection("127.0.0.1", PORT, timeout=60), r) for r in requests]
        told = load(requests[0], wires[0], seconds, lambda waiting: kill(cluster, second, doomed, waiting))
        told["frozen"] = len(doomed)
        return {"wires": wires, "placed": placed, "again": asked_again(), **told}
    finally:
        session = Path(ray._private.worker._global_node.get_session_dir_path())
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()
        shutil.rmtree(session, ignore_errors=True)


def start(cluster: Cluster, **more):
    """A node, asked for again where the machine is so busy that Ray gives up on one after 30 seconds."""
    for left in reversed(range(6)):
        try:
            return cluster.add_node(num_cpus=2, object_store_memory=STORE, **more)
        except Exception:
            if not left:
                raise


def _schema(config: dict):
    from ray.serve.schema import ServeDeploySchema

    return ServeDeploySchema.parse_obj({"applications": config["applications"]})


def kill(cluster: Cluster, node, replicas: list[int], waiting) -> int:
    """First its replicas stand still until requests are with them, then everything on it is killed.

    Args:
        waiting: how many requests have waited for so many times the longest that any did before.

    Returns:
        How many requests were with them.
    """
    for pid in replicas:
        os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + HELD
    while not (held := waiting(3.0)) and time.monotonic() < end:
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)
    for pid in replicas:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return held


def wait_for_all(client) -> list[dict]:
    """Wait until all replicas run; those of Models."""
    for _ in range(200):
        apps = client.get_serve_details()["applications"]
        deployments = [d for app in apps.values() for d in app["deployments"].values()]
        if deployments and all(d["status"] == "HEALTHY" for d in deployments):
            return next(d["replicas"] for d in deployments if d["name"] == "Models")
        time.sleep(0.5)
    raise SystemExit(f"not healthy: {json.dumps(apps, default=str)}")


def asked_again() -> int:
    logs = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs/serve"
    return sum(path.read_text(errors="replace").count("a replica did not answer") for path in logs.glob("*Door*"))


def ask(connection: HTTPConnection, request: dict) -> list:
    body = request["body"].encode("latin-1")
    connection.request(request["method"], request["path"], body or None, request["headers"])
    reply = connection.getresponse()
    return [reply.status, reply.read().decode("latin-1"), reply.getheader("retry-after")]


def load(request: dict, expected: list, seconds: float, kill) -> dict:
    """Ask without pause from several connections, and kill in between. Requests that get no answer are counted too."""
    told, slow, over = Counter(), [], threading.Event()
    after = Counter()
    killed = threading.Event()
    since: dict[int, float] = {}  # thread -> when it asked what it waits for

    def waiting(times: float) -> int:
        now, longest = time.perf_counter(), max(list(slow), default=1.0)
        return sum(now - began > max(1.0, times * longest) for began in list(since.values()))

    def client() -> None:
        own = threading.get_ident()
        connection = HTTPConnection("127.0.0.1", PORT, timeout=60)
        while not over.is_set():
            began = since[own] = time.perf_counter()
            late = killed.is_set()
            try:
                status, body, again = ask(connection, request)
            except Exception as fault:
                connection.close()
                told[f"no answer: {type(fault).__name__}"] += 1
                continue
            kind = "right" if [status, body] == expected[:2] else "wrong" if status == 200 else f"{status}"
            if status == 503 and again:
                kind = "503, to be tried again"
            told[kind] += 1
            after[kind] += late
            slow.append(time.perf_counter() - began)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 3)
    held = kill(waiting)
    killed.set()
    time.sleep(2 * seconds / 3)
    over.set()
    for thread in threads:
        thread.join()
    slow.sort()
    at = {f"p{p}": round(slow[min(len(slow) - 1, len(slow) * p // 100)] * 1e3, 2) for p in (50, 99, 100)}
    return {"load": dict(told), "after": dict(after), "slow": at, "held": held}


if __name__ == "__main__":
    print("\n" + json.dumps(main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), float(sys.argv[3]))))

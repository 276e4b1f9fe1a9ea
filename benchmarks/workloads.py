"""What is asked of the servers: a model, how its tensors travel, and how many clients ask at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["PROMISES", "QUICK", "WORKLOADS", "Promise", "Visit", "Workload"]


class Workload(NamedTuple):
    model: str
    kind: str  # json, binary, grpc or discard: peers say which wire they have for it
    clients: tuple[int, ...]
    title: str
    long: bool = False  # a request takes milliseconds: our own client drives it, in windows twice as long


WORKLOADS: Final[Mapping[str, Workload]] = {
    "iris": Workload("iris", "json", (1, 8, 64), "iris, logistic regression, JSON"),
    "xgboost": Workload("xgboost", "json", (1, 8, 64), "200 XGBoost trees, JSON"),
    "digits": Workload("digits", "json", (1, 8, 64), "digits, small CNN, JSON"),
    "iris-binary": Workload("iris", "binary", (1, 8, 64), "iris, binary"),
    "iris-grpc": Workload("iris", "grpc", (1, 64), "iris, Open Inference Protocol over gRPC"),
    "resnet18": Workload("resnet18", "binary", (1, 8, 64), "ResNet-18, binary, 602 KB", long=True),
    "resnet18-json": Workload("resnet18", "json", (1, 8, 64), "ResNet-18, JSON, 3.1 MB", long=True),
    "encoder": Workload("encoder", "json", (1, 16), "BERT-shaped encoder, 7 to 128 tokens, JSON", long=True),
    "discard": Workload("resnet18", "discard", (1, 8, 64), "602 KB body, discarded"),
}


class Visit(NamedTuple):
    """A server is started for one workload, driven, and stopped."""

    workload: str
    peer: str
    workers: int
    clients: tuple[int, ...] = ()  # all of the workload's when empty


class Promise(NamedTuple):
    """A ratio of setsail's figure to another server's. For rates it is the least, for everything else the most."""

    text: str
    workload: str
    figure: str
    workers: int
    clients: int
    against: tuple[str, ...]  # peers, of which the best counts; () is every peer that serves models
    wanted: float
    other: str = ""  # the other server's workload, where it is another one


PROMISES: Final = (
    Promise("iris, 64 clients, 2 workers: tuned FastAPI", "iris", "rate", 2, 64, ("fastapi",), 8),
    Promise("… MLServer", "iris", "rate", 2, 64, ("mlserver",), 25),
    Promise("… LitServe", "iris", "rate", 2, 64, ("litserve",), 40),
    Promise("… BentoML", "iris", "rate", 2, 64, ("bentoml",), 40),
    Promise("… Ray Serve", "iris", "rate", 2, 64, ("rayserve",), 300),
    Promise("iris, 64 clients, 1 worker: raw ASGI on uvicorn", "iris", "rate", 1, 64, ("uvicorn",), 3),
    Promise("… granian RSGI", "iris", "rate", 1, 64, ("granian",), 2.5),
    Promise("iris, 64 clients: CPU a request, bare protocol echo", "iris", "cpu_ms_per_1000", 1, 64, ("echo",), 2.5),
    Promise("iris, 1 client: p50, the best peer", "iris", "p50_ms", 1, 1, (), 0.6),
    Promise("digits, 64 clients: tuned FastAPI", "digits", "rate", 2, 64, ("fastapi",), 5),
    Promise("iris gRPC, 64 streams: grpcio aio", "iris-grpc", "rate", 2, 64, ("grpcio-aio",), 8),
    Promise("… its own REST, binary", "iris-grpc", "rate", 2, 64, ("setsail",), 1 / 1.5, "iris-binary"),
    Promise("ResNet-18, 602 KB: CPU a request, in process", "resnet18", "cpu_ms_per_1000", 2, 8, ("in-process",), 1.05),
    Promise("encoder, mixed lengths, 16 clients: tuned FastAPI", "encoder", "rate", 2, 16, ("fastapi",), 1.3),
    Promise("ResNet-18, JSON, 8 clients: the best peer", "resnet18-json", "rate", 2, 8, (), 1.5),
    Promise("602 KB, discarded, 64 clients: nginx", "discard", "rate", 2, 64, ("nginx",), 0.6),
    Promise("iris, cold start: the best peer", "iris", "cold_start_s", 1, 64, (), 1),
)

# What `--quick` does: every promise above, and not much else.
QUICK: Final = (
    *(
        Visit("iris", peer, 2, (1, 64))
        for peer in ("setsail", "fastapi", "flask", "mlserver", "litserve", "bentoml", "rayserve")
    ),
    *(Visit("iris", peer, 1, (1, 64)) for peer in ("setsail", "uvicorn", "granian", "flask", "echo")),
    *(Visit("digits", peer, 2, (64,)) for peer in ("setsail", "fastapi")),
    Visit("iris-binary", "setsail", 2, (64,)),
    *(Visit("iris-grpc", peer, 2, (64,)) for peer in ("setsail", "grpcio-aio", "grpcio-sync")),
    *(Visit("resnet18", peer, 2, (8,)) for peer in ("setsail", "in-process")),
    *(Visit("resnet18-json", peer, 2, (8,)) for peer in ("setsail", "uvicorn", "fastapi", "bentoml", "mlserver-2")),
    *(Visit("encoder", peer, 2, (16,)) for peer in ("setsail", "fastapi", "in-process")),
    *(Visit("discard", peer, 2, (64,)) for peer in ("setsail", "nginx")),
)

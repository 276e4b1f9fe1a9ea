"""Every error setsail can give, as one table.

    SetsailError
    └── one `code` out of KINDS, which fixes the family (and so the HTTP and gRPC status), the exit code
        of the command line and what the documentation says about it

There is one exception class, because nobody catches "a sub-class of an input error": people read a code, and
wires read a family. Raise it with the facts, not with prose::

    raise SetsailError("input.dtype", "input 'age', row 3, is text", field="age", row=3,
                       value="abc", expected="a number (float64)", todo="send a number")

The same fault reads the same through every wire: each renders `str(error)` its own way and adds nothing.
`docs/errors.md` is generated from KINDS, and `tests/test_errors.py` holds that a test produces each code.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["FAMILIES", "KINDS", "Family", "Kind", "SetsailError", "shorten"]


@dataclass(frozen=True, slots=True)
class Family:
    """What a fault means to a caller: `http` is an RFC 9110 status, `grpc` a canonical status code."""

    http: int
    grpc: int


FAMILIES: Final[Mapping[str, Family]] = {
    "invalid": Family(400, 3),
    "unauthenticated": Family(401, 16),
    "forbidden": Family(403, 7),
    "not_found": Family(404, 5),
    "method": Family(405, 12),
    "conflict": Family(409, 6),
    "slow": Family(408, 4),
    "too_large": Family(413, 8),
    "media_type": Family(415, 3),
    "expectation": Family(417, 3),
    "exhausted": Family(429, 8),
    "fields_too_large": Family(431, 8),
    "cancelled": Family(499, 1),  # nginx's number for a client that has gone; it is only ever logged
    "internal": Family(500, 13),
    "unsupported": Family(501, 12),
    "unavailable": Family(503, 14),
    "deadline": Family(504, 4),
    "http_version": Family(505, 12),
    "storage": Family(507, 8),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the error table. `exit` is the command line's exit code (`contract.md` §2)."""

    family: str
    meaning: str
    todo: str
    exit: int = 1


# fmt: off
def _rows() -> dict[str, Kind]:
    inv = "invalid"
    return {
        # -- one request: found by the signature check, the same for every wire ----------------------------
        "input.missing": Kind(inv, "An input of the signature was not sent.", "Send every input the signature lists."),
        "input.unknown": Kind(inv, "The request names an input the model does not have.", "Use the names of the signature."),
        "input.dtype": Kind(inv, "A value cannot become the input's dtype without loss.", "Send the signature's dtype, or one that widens to it."),
        "input.shape": Kind(inv, "A tensor's shape does not fit the signature.", "Send the signature's shape; `*` stands for any size."),
        "input.ragged": Kind(inv, "Nested lists have rows of different lengths.", "Make every row equally long."),
        "input.length": Kind(inv, "Inputs of one request differ in their number of rows.", "Send as many rows in every input."),
        "input.nan": Kind(inv, "NaN or infinity where the model was trained without missing values.", "Fill the value before sending it."),
        "input.null": Kind(inv, "null where the input cannot be missing.", "Send a value: only floats and text columns that had missing values in training take null."),
        "input.category": Kind(inv, "A category the model was not trained on.", "Send one of the known categories."),
        "input.range": Kind(inv, "A number outside the input's dtype.", "Send a number the dtype can hold."),
        "input.empty": Kind(inv, "A request without rows.", "Send at least one row."),
        "input.media": Kind(inv, "Bytes that are not the image or file the model takes, or too large a one.", "Send a PNG or JPEG file as it is; in JSON, in base64."),
        "input.text": Kind(inv, "A text that is longer than the model takes.", "Send a shorter text."),
        "output.unknown": Kind(inv, "The request asks for an output the model does not have.", "Use the names of the signature."),
        # -- one request: found by a wire ------------------------------------------------------------------
        "request.json": Kind(inv, "The body is not valid JSON.", "Check the body with a JSON linter."),
        "request.form": Kind(inv, "The body is not of the form this wire defines.", "Compare the body with the example on the model's docs page."),
        "request.csv": Kind(inv, "The body is not a CSV table with a header line.", "Send a header line with the input names, then one line per row."),
        "request.binary": Kind(inv, "Binary tensors do not add up with the body.", "Send exactly the bytes of each tensor; over REST, check Inference-Header-Content-Length and binary_data_size."),
        "request.path": Kind("not_found", "No wire answers at this path.", "See the admin port's /docs for the paths that exist."),
        "request.method": Kind("method", "The path exists, the method does not.", "Use the method in the Allow header."),
        "request.media_type": Kind("media_type", "The content type is not one this path takes.", "Send application/json or text/csv."),
        "request.encoding": Kind("unsupported", "The content encoding is not one we decode.", "Send gzip, deflate or no content encoding."),
        "request.compressed": Kind(inv, "The compressed body is damaged.", "Compress it again, or send it plain."),
        "request.key": Kind("unauthenticated", "The API key is missing or wrong.", "Send `Authorization: Bearer KEY` with a key of the server's --api-key-file."),
        "request.unsupported": Kind("unsupported", "The protocol has this operation, setsail does not.", "See the wire's page under docs/wires for what is answered."),
        "request.too_large": Kind("too_large", "The body is larger than the limit.", "Send fewer rows a request, or raise --max-body."),
        "request.malformed": Kind(inv, "The bytes are not a well-formed HTTP or gRPC request.", "Use an HTTP library; do not build requests by hand."),
        "request.head_too_large": Kind("fields_too_large", "The request line and headers are larger than the limit.", "Send fewer or shorter headers, or raise --max-head or --max-headers."),
        "request.slow": Kind("slow", "The request came slower than the limits allow.", "Send faster, or raise --header-timeout or lower --min-rate."),
        "request.version": Kind("http_version", "The HTTP version is not one this server speaks.", "Use HTTP/1.1 or HTTP/2."),
        "request.expectation": Kind("expectation", "The Expect header asks for something unknown.", "Send `Expect: 100-continue` or none."),
        "request.deadline": Kind("deadline", "The request cannot be answered within its deadline.", "Allow more time, or send fewer requests at once."),
        "request.cancelled": Kind("cancelled", "The client went away before its answer.", "Wait longer for answers."),
        "server.busy": Kind("unavailable", "The server holds as many connections or bytes as it may.", "Try again after Retry-After, or raise --max-connections or --max-inflight-bytes."),
        "server.draining": Kind("unavailable", "The server is shutting down.", "Send the request to another server."),
        "server.worker": Kind("internal", "A worker process ended again and again.", "Read what it logged before it ended; --workers 1 runs without workers."),
        # -- models behind the server ----------------------------------------------------------------------
        "model.unknown": Kind("not_found", "No model of this name is served.", "GET /v2/repository/index lists the models."),
        "model.version": Kind("not_found", "The model has no such version.", "Leave the version out to get the default one."),
        "model.label": Kind(inv, "The model has no such label.", "Use a label that points at a version."),
        "model.signature": Kind(inv, "The model has no such signature.", "Use serving_default, another signature of the model (setsail inspect), or an output's name."),
        "model.not_ready": Kind("unavailable", "The model is loading, draining or was unloaded.", "Try again shortly; the status says where it is."),
        "model.memory": Kind("storage", "There is not enough memory to load the model.", "Unload another model, or give the server more memory."),
        "model.failed": Kind("unavailable", "The model could not be loaded.", "Read the reason in the server's log and run `setsail verify` on the file."),
        "model.busy": Kind("exhausted", "The model's queue is full.", "Try again after Retry-After, send fewer requests at once, or raise --queue-rows or --queue-bytes."),
        "model.run": Kind("internal", "The runtime failed while running the model.", "Give the error's id to the operator: the log has the details."),
        "model.name": Kind(inv, "A model name that is not allowed.", "Use up to 128 letters, digits, '.', '_' and '-', beginning with a letter or digit.", exit=2),
        "model.exists": Kind("conflict", "The version is registered already.", "Unregister it first, or register another version."),
        "route.value": Kind(inv, "A route cannot be made of what was said.", "Say weights as v1=90 v2=10, and a key as header:NAME or input:NAME."),
        "route.nothing": Kind("conflict", "There is no canary to promote, or no earlier route to go back to.", "Look at what there is: setsail route MODEL."),
        "route.conflict": Kind("conflict", "Somebody else changed the route, or a route is in force.", "Look at what there is now, and say it again."),
        "watch.none": Kind("not_found", "The model is not watched.", "Pack it with --reference ROWS, or serve it with --watch all for labels alone."),
        "watch.source": Kind("unavailable", "What a server watches could not be read.", "Check that the URL is the admin port's, and that the server runs."),
        "model.default": Kind(inv, "The default version cannot go while the model has others.", "Make another version the default first."),
        "store.none": Kind("forbidden", "The server was given no folder that models may be registered from.", "Start with --model-store FOLDER, or serve a directory."),
        "store.outside": Kind("forbidden", "The file is outside the folders that models may be registered from.", "Put it into the model store, and name it by its file name."),
        "store.missing": Kind("not_found", "The model store has no such file.", "Copy the model there first; the name is that of the file or folder."),
        "store.source": Kind("unsupported", "The file in the model store cannot be served as it is.", "Pack it: setsail pack FILE."),
        "control.refused": Kind("forbidden", "Loading and unloading is off on the data port.", "Start with --model-control explicit, or use the admin port."),
        "server.fault": Kind("internal", "A fault inside the server: a bug, or the machine ran out of something.", "Give the error's id to the operator: the log has the details."),
        "admin.origin": Kind("forbidden", "A changing request came from another site or for another host.", "Send it from the admin page itself, or from a tool with the admin address as Host."),
        # -- the artifact: found while reading, before anything runs ---------------------------------------
        "artifact.missing": Kind("not_found", "There is no file at this path.", "Check the path."),
        "artifact.exists": Kind("conflict", "The output file exists already.", "Choose another -o, or overwrite with --force."),
        "artifact.format": Kind(inv, "The file is not a setsail artifact.", "Pack the model first: setsail pack FILE."),
        "artifact.truncated": Kind(inv, "The file ends too early.", "Copy it again; compare sizes with the source."),
        "artifact.layout": Kind(inv, "A byte of the container is not where, or what, the format says.", "The file was changed or damaged: get it again from its source."),
        "artifact.trailing": Kind(inv, "Bytes follow the end of the archive.", "The file was changed or damaged: get it again from its source."),
        "artifact.digest": Kind(inv, "A member's bytes do not have the digest the manifest states.", "The file was changed or damaged: get it again from its source."),
        "artifact.member": Kind(inv, "A member has a name or kind that is not allowed.", "Do not use this file; tell whoever made it."),
        "artifact.duplicate": Kind(inv, "Two members have one name, or names that differ only in case.", "Do not use this file; tell whoever made it."),
        "artifact.size": Kind("too_large", "A size claimed in the file is over the limit or does not fit the file.", "Do not use this file; tell whoever made it."),
        "artifact.json": Kind(inv, "A JSON member is not valid, canonical JSON within the depth limit.", "Do not use this file; tell whoever made it."),
        "artifact.field": Kind(inv, "The manifest has a field that is unknown, missing or of the wrong type.", "Pack the model again with this version of setsail."),
        "artifact.requires": Kind("unsupported", "The artifact needs a newer setsail.", "Upgrade: pip install -U setsail."),
        "artifact.seal": Kind(inv, "The seal does not match the manifest.", "The file was changed: get it again from its source."),
        # -- the program inside: the safety gate -------------------------------------------------------------
        "program.parse": Kind(inv, "The program is not a readable ONNX model.", "Export the model again."),
        "program.operator": Kind(inv, "The program uses an operator domain that is not allowed.", "Export without custom operators."),
        "program.external": Kind(inv, "External weights lie where they must not.", "Keep the weights in plain files beside the model."),
        "program.size": Kind("too_large", "The program claims more than the limits allow.", "Raise the limit only if you trust the file."),
        "program.trial": Kind(inv, "The program failed its trial run in a child process.", "Check the model with its own framework."),
        # -- packing: from a trained model to an artifact ------------------------------------------------------
        "source.missing": Kind("not_found", "There is no model at this path.", "Check the path."),
        "source.unknown": Kind(inv, "The file is of no model format we know.", "See docs/frameworks for the formats; name one with --framework.", exit=2),
        "source.damaged": Kind(inv, "The file looks like a known model format but cannot be read.", "Save the model again."),
        "source.llm": Kind("unsupported", "A large language model: other engines do this better.", "Serve it with vLLM."),
        "source.trust": Kind("forbidden", "Loading this format can run code.", "If you trust the file, pass the --trust flag that the message names.", exit=2),
        "source.sandbox": Kind("forbidden", "The child process cannot be cut off from the network here.", "Run on Linux with user namespaces, or pass --no-sandbox.", exit=2),
        "source.load": Kind(inv, "The model's own framework could not load the file.", "Load it in Python with the versions it was saved with."),
        # -- functions in processes of their own (docs/functions.md) -------------------------------------------
        "app.load": Kind(inv, "The file of a function cannot be imported, or has no such function.", "Run the file in a Python of your own.", exit=2),
        "app.hints": Kind(inv, "A function's type hints do not say what a model takes and gives.", "See docs/functions.md for the hints that are served.", exit=2),
        "app.fault": Kind("internal", "The function raised an exception.", "Give the error's id to the operator: the log has the trace."),
        "app.answer": Kind("internal", "The function returned what its type hints do not say.", "Give the error's id to the operator: the log says what came."),
        "app.timeout": Kind("deadline", "The function took longer than one call may.", "Send less at once, or raise --app-timeout."),
        "app.ended": Kind("unavailable", "The function's process ended; it is being started again.", "Send the request again shortly."),
        "convert.unsupported": Kind("unsupported", "A part of the model has no exact conversion.", "See the framework's page for what converts."),
        "convert.example": Kind(inv, "The model does not say what its inputs look like.", "Pass example= (Python) or --example/--input (command line).", exit=2),
        "convert.input": Kind(inv, "An --input text or an example does not fit the model.", 'Write --input "name:float32[*,10]".', exit=2),
        "convert.run": Kind(inv, "The source model failed on its example rows.", "Check that model.predict works on the example."),
        "parity.failed": Kind(inv, "The converted model does not answer as its source does.", "Read the parity report; nothing was written."),
        "ship.unsupported": Kind("unsupported", "The target cannot run this artifact.", "See docs/targets for what each target runs."),
        "ship.budget": Kind("too_large", "What would be written is larger than its budget.", "Raise the budget, or make the model smaller."),
        "ship.fetch": Kind("unavailable", "A file that the target needs could not be fetched, or is not the one that was pinned.", "Check the network, or give a file that was fetched elsewhere."),
        "ship.base": Kind(inv, "What an image should stand on is no base for it.", "Give an image or a root file system with Python 3.11 or newer, e.g. python:3.11-slim-bookworm."),
        "ship.run": Kind(inv, "What was written does not run here, or does not answer.", "Read what it said; nothing was left of it."),
        "rows.format": Kind(inv, "A rows file cannot be read as its extension says.", "Use .csv, .json, .jsonl, .npy, .npz or .parquet.", exit=2),
        "rows.missing": Kind("not_found", "There is no rows file at this path.", "Check the path.", exit=2),
        # -- the command line and the server's own settings ------------------------------------------------------
        "command.usage": Kind(inv, "The command line cannot be understood.", "See setsail VERB --help.", exit=2),
        "command.system": Kind("internal", "The operating system refused: a disk is full, a permission is missing.", "Make room, or change the permission."),
        "command.interrupted": Kind("unavailable", "Ctrl-C.", "Run it again.", exit=130),
        "command.fault": Kind("internal", "A bug in setsail.", "Run it again with SETSAIL_DEBUG=1 to see the traceback, and report it."),
        "dependency.missing": Kind("unsupported", "A package this needs is not installed.", "Run the pip line in the message.", exit=3),
        "setting.value": Kind(inv, "A setting has a value that is not allowed.", "See docs/settings.md.", exit=2),
        "setting.unknown": Kind(inv, "A setting that does not exist.", "See docs/settings.md for the names.", exit=2),
        "bench.target": Kind("unavailable", "No model of the Open Inference Protocol answers where one should be measured.", "Check the URL, and that the server is ready."),
        "bench.answers": Kind(inv, "The server does not answer the requests it is to be measured with.", "Send one of them by hand; --rows takes rows that the model takes."),
        "port.in_use": Kind("conflict", "The port is taken.", "Choose another --port, or 0 for a free one."),
        "repository.empty": Kind(inv, "The directory holds no model.", "See docs/serving.md for the layout of a repository.", exit=2),
        "repository.layout": Kind(inv, "A version directory is not usable.", "Name versions by positive integers, one model in each.", exit=2),
        "repository.config": Kind(inv, "What another server's file beside a model says cannot be read, or asks for what is not done here.", "See docs/migrating for what carries over.", exit=2),
        "child.failed": Kind("internal", "A child process died, ran out of time or memory.", "Read its last lines above; raise the limit if the model needs more."),
    }
# fmt: on


KINDS: Final[Mapping[str, Kind]] = _rows()


class SetsailError(Exception):
    """A fault with a stable `code`, and the facts that explain it.

    Args:
        code: a key of KINDS; anything else is a bug and raises KeyError here.
        what: one clause that names the field and the fault, without final stop.
        field, value, expected, todo: which field, what it held, what would be right, what to do next
            (defaults to the table's advice). Other keyword arguments are kept in `facts`.

    Attributes:
        written: of a fault that is told to many, what each wire made of it; None where each is told his own.
    """

    written: dict[str, Any] | None = None

    def __init__(
        self,
        code: str,
        what: str,
        *,
        field: str | None = None,
        value: object = None,
        expected: str | None = None,
        todo: str | None = None,
        **facts: Any,
    ) -> None:
        self.code = code
        self.kind = KINDS[code]
        self.what = what
        self.field = field
        self.value = None if value is None else shorten(value)
        self.expected = expected
        self.todo = todo or self.kind.todo
        self.facts = facts
        super().__init__(code, what)

    @property
    def family(self) -> Family:
        return FAMILIES[self.kind.family]

    @property
    def message(self) -> str:
        """Everything but the code, in one line."""
        parts = [self.what]
        if self.value is not None:
            parts.append(f"got {self.value}")
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        return f"{'; '.join(parts)}. {self.todo[:1].upper()}{self.todo[1:].rstrip('.')}."

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"

    def to_json(self) -> dict[str, Any]:
        """The facts for machines: `--json` output and structured logs."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        for key in ("field", "value", "expected", "todo"):
            if getattr(self, key) is not None:
                body[key] = getattr(self, key)
        return body | self.facts

    def kept(self) -> SetsailError:
        """The same fault, for whoever keeps it: without the stacks that it and its causes came by.

        A stack's frames hold the request that was at fault, and often the fault itself: such a ring stays in memory
        until the garbage collector comes, with all of a body of 64 MiB in it.
        """
        one: BaseException | None = self
        while one is not None:
            one.__traceback__ = None
            one = one.__cause__ or one.__context__
        return self


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxtuple, _REPR.maxdict, _REPR.maxstring, _REPR.maxother = 3, 4, 8, 4, 60, 60


def shorten(value: object, limit: int = 80) -> str:
    """A value as text for an error: quoted, on one line, at most `limit` characters, cheap for huge values."""
    text = " ".join(_REPR.repr(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"

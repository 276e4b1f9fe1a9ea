"""The command `setsail`: its verbs, loaded when they are typed, and the one place where a fault becomes an exit code.

0 done · 1 the thing failed · 2 usage · 3 a package is missing · 130 interrupted
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from setsail import __version__
from setsail.cli.faults import Tell, as_error

__all__ = ["VERBS", "Root", "main", "reference"]

# verb -> its line in `setsail --help`. The module of the same name holds `command`; it is imported when it is typed,
# so that `setsail serve` pays for no other verb.
VERBS: Final[Mapping[str, str]] = {
    "pack": "Convert a trained model, hold it against its source, write one artifact.",
    "inspect": "Show what is inside an artifact. Runs nothing.",
    "verify": "Check every byte of an artifact and replay its stored answers.",
    "export": "Take the program out of an artifact as plain files.",
    "ship": "Turn an artifact into something that a platform runs: a browser, say.",
    "predict": "Answer a file of rows, of any size.",
    "prepare": "Make the environment that a model's own code asks for.",
    "serve": "Serve models over HTTP.",
    "watch": "Show drift, labels and alarms of a running server.",
    "report": "Write what is watched as one page.",
    "route": "Say which versions of a model answer, on a server that runs.",
    "canary": "Give a new version some of the requests, and let the server decide.",
    "shadow": "Send a version copies of what others answer, and compare.",
    "promote": "Have one version answer everything.",
    "rollback": "Go back to the route before.",
    "bench": "Measure how fast a model is served.",
    "doctor": "Show what this machine can do, and how to get what is missing.",
}
_WIDTH: Final = 100
_HEAD: Final = """\
# The command line

Made from the help texts by `setsail.cli.reference()`; `tests/cli/test_root.py` holds that this page is up to date.

Every verb takes `--json` (exactly one JSON document on standard output; messages go to standard error), `--quiet` and
`--yes`, and exits with

| code | meaning |
|---|---|
| 0 | done |
| 1 | the thing failed: parity, verification, a damaged file, a row that does not fit |
| 2 | usage: a flag, a path or a setting is wrong; a question that needs a person or a flag |
| 3 | a package is missing; the exact pip line is printed on a line of its own |
| 130 | interrupted with Ctrl-C |

An error is printed with its code (`docs/errors.md`) and what to do; with `--json` it is
`{"error": {"code", "message", …}}`. `SETSAIL_DEBUG=1` adds Python's traceback.
"""


class Root(click.Group):
    """The group of verbs. `main` ends the process itself, because the exit codes are ours and not click's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"setsail.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = get_close_matches(args[0], VERBS, 1)
            hint = f"did you mean `setsail {near[0]}`?" if near else "the verbs are " + ", ".join(VERBS)
            raise click.UsageError(f"there is no verb {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(given, prog_name="setsail", standalone_mode=False)
            sys.stdout.flush()  # a full disk or a closed pipe is told here, not by the interpreter's end
        except SystemExit:
            raise
        except click.exceptions.NoArgsIsHelpError as nothing:
            click.echo(nothing.ctx.get_help() if nothing.ctx else "", err=True)
            sys.exit(2)
        except BrokenPipeError:  # whoever read our output has had enough, e.g. `| head`
            _drop_output()
            sys.exit(1)
        except BaseException as fault:
            sys.exit(_tell(given, fault))
        sys.exit(code if isinstance(code, int) else 0)


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: setsail serve MODEL, or setsail doctor. Documentation of a verb: setsail VERB --help.",
)
@click.version_option(__version__, message="setsail %(version)s")
def main() -> None:
    """A trained model in, a checked artifact and a typed endpoint out."""


def _tell(given: Sequence[str], fault: BaseException) -> int:
    """Print a fault; standard output may be what failed."""
    tell = Tell(given)
    try:
        code = tell.fault(as_error(fault), fault)
        sys.stdout.flush()
    except OSError:
        _drop_output()
        return tell.error(as_error(fault))
    return code


def _drop_output() -> None:
    """Let what is still buffered go nowhere, or the interpreter would fail on it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reference() -> str:
    """docs/cli.md: the help of every verb, at a fixed width."""
    parts = [_HEAD, _section(main, "setsail")]
    for verb in VERBS:
        found = main.get_command(click.Context(main), verb)
        assert found is not None
        parts.append(_section(found, f"setsail {verb}"))
    return "\n".join(parts)


def _section(command: click.Command, title: str) -> str:
    context = click.Context(command, info_name=title, terminal_width=_WIDTH, max_content_width=_WIDTH,
                            help_option_names=["-h", "--help"])  # fmt: skip
    return f"## {title}\n\n```text\n{command.get_help(context)}\n```\n"

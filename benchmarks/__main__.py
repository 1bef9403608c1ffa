"""`python -m benchmarks [name ...] [--option value ...]`: the short questions, or those named."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Ask: TypeAlias = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One question; its module is imported when it is asked, so that a broken one breaks no other.

    Args:
        module: Where it is, inside `benchmarks`.
        function: What asks it; its keyword arguments are options on the command line.
        long: Whether it takes minutes, and is asked only by name.
    """

    module: str
    function: str = "main"
    long: bool = False

    def load(self) -> Ask:
        """Return what asks the question.

        Raises:
            ImportError: It, or something it needs, is not there.
        """
        found: Ask = getattr(importlib.import_module(f"benchmarks.{self.module}"), self.function)
        return found

    def question(self) -> str:
        """Return the question, or how a long form of it differs."""
        try:
            asks = self.load()
        except ImportError as error:
            return f"(cannot be asked here: {error})"
        said = asks if self.function == "full" else inspect.getmodule(asks)
        return (inspect.getdoc(said) or "").partition("\n")[0]


BENCHMARKS: Final = {
    "import_cost": Benchmark("import_cost"),
    "loop_stall": Benchmark("loop_stall"),
    "engine": Benchmark("engine"),
    "large_scopes": Benchmark("large_scopes"),
    "ingest": Benchmark("ingest"),
    "beside_writer": Benchmark("beside_writer"),
    "portable": Benchmark("portable", long=True),
    "forgetting": Benchmark("forgetting", long=True),
    "sweeping": Benchmark("sweeping"),
    "recall": Benchmark("recall"),
    "abstention": Benchmark("abstention"),
    "engine_full": Benchmark("engine", "full", long=True),
    "large_scopes_full": Benchmark("large_scopes", "full", long=True),
    "sweeping_full": Benchmark("sweeping", "full", long=True),
    "recall_full": Benchmark("recall", "full", long=True),
    "recall_changes": Benchmark("changes", long=True),
    "peers": Benchmark("peers.compare", long=True),
    "peers_full": Benchmark("peers.compare", "full", long=True),
    "aws_ops": Benchmark("aws.ops", long=True),
    "aws_latency": Benchmark("aws.latency", long=True),
    "aws_batch": Benchmark("aws.batch", long=True),
    "aws_tenants": Benchmark("aws.tenants", long=True),
    "aws_throttled": Benchmark("aws.throttled", long=True),
    "aws_cold": Benchmark("aws.cold", long=True),
    "aws_whole_life": Benchmark("aws.whole_life", long=True),
}


def _table() -> str:
    return "\n".join(
        f"  {name:18} {'long ' if benchmark.long else 'short'}  {benchmark.question()}"
        for name, benchmark in BENCHMARKS.items()
    )


class _Parser(argparse.ArgumentParser):
    def format_help(self) -> str:
        return f"{super().format_help()}\nbenchmarks:\n{_table()}\n"


def _value(text: str) -> object:
    """Return a number or several; any other text is itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def options(asks: Ask, given: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return what of the command line are keyword arguments of a question, and what is left.

    "--seeds 911,912" is `seeds=(911, 912)`; "--seeds 911" too is a tuple where the default is one.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog="benchmarks")
    parameters = inspect.signature(asks).parameters
    for name in parameters:
        parser.add_argument(f"--{name}", type=_value, default=argparse.SUPPRESS)
    known, left = parser.parse_known_args(given)
    found = vars(known)
    for name, value in found.items():
        if isinstance(parameters[name].default, tuple) and not isinstance(value, tuple):
            found[name] = (value,)
    return found, left


def main(arguments: Sequence[str]) -> None:
    """Ask what the command line names."""
    parser = _Parser(
        prog="python -m benchmarks",
        usage="%(prog)s [name ...] [--option value ...]",
        description="Ask the short questions, or those named. Options are keyword arguments of "
        "what is asked: recall --seeds 911,912 --distractors 1000 --users 10",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", metavar="name", help="a benchmark, or `list`")
    asked, given = parser.parse_known_args(arguments)
    names: list[str] = asked.names
    if names == ["list"]:
        print(_table())
        return
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.exit(2, f"error: no such benchmark: {', '.join(unknown)}; try `list`\n")
    if given and len(names) != 1:
        parser.exit(2, "error: options belong to one benchmark; name exactly one\n")
    for name in names or [name for name, benchmark in BENCHMARKS.items() if not benchmark.long]:
        try:
            asks = BENCHMARKS[name].load()
        except ImportError as error:
            if names:
                parser.exit(1, f"error: {name} cannot be asked here: {error}\n")
            print(f"== {name}: skipped: {error}", file=sys.stderr)
            continue
        chosen, left = options(asks, given)
        if left:
            parser.exit(2, f"error: {name} does not know {' '.join(left)}\n")
        print(f"== {name}", flush=True)
        asks(**chosen)


if __name__ == "__main__":
    main(sys.argv[1:])

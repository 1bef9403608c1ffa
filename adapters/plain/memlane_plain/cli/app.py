"""The command itself: which commands there are, what help looks like, how mistakes end."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Final, Protocol, cast, runtime_checkable

import typer
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from memlane import EmbeddingSpaceError, ImportFileError, MemlaneError, ValidationError
from memlane_plain.cli import (
    administering,
    demo,
    doctor,
    emulating,
    exporting,
    importing,
    info,
    keeping,
    recall,
    versions,
)
from memlane_plain.cli.options import FLAG
from memlane_plain.cli.output import Output, clean

__all__ = ("app", "run")

_FAILED: Final = 1
_USAGE: Final = 2


@dataclass(frozen=True, slots=True)
class _Command:
    group: str
    name: str
    function: Callable[..., None]
    example: str


_COMMANDS: Final = (
    _Command(
        "Start here",
        "demo",
        demo.demo,
        "memlane demo",
    ),
    _Command("Start here", "doctor", doctor.doctor, "memlane doctor"),
    _Command("Start here", "info", info.info, "memlane info --user ada"),
    _Command(
        "Remember",
        "store",
        keeping.store,
        'memlane store "Prefers window seats" --user ada --tag travel',
    ),
    _Command(
        "Remember",
        "import",
        importing.import_,
        "memlane import chat.jsonl --user ada",
    ),
    _Command(
        "Remember",
        "update",
        keeping.update,
        'memlane update ID --text "Prefers the aisle" --user ada',
    ),
    _Command("Remember", "restore", versions.restore, "memlane restore ID 1 --user ada"),
    _Command(
        "Recall",
        "retrieve",
        recall.retrieve,
        'memlane retrieve "where should I seat her?" --user ada --why',
    ),
    _Command(
        "Recall",
        "context",
        recall.context,
        'memlane context "plan her flight" --user ada --max-tokens 400',
    ),
    _Command("Recall", "get", recall.get, "memlane get ID --user ada"),
    _Command("Recall", "list", recall.listing, "memlane list --user ada --namespace /trips/"),
    _Command("Recall", "count", recall.count, "memlane count --user ada"),
    _Command("Recall", "export", exporting.export, "memlane export --user ada --to ada.jsonl"),
    _Command("Recall", "history", versions.history, "memlane history ID --user ada"),
    _Command("Forget", "delete", keeping.delete, "memlane delete ID --user ada"),
    _Command("Forget", "forget", keeping.forget, "memlane forget --user ada --tenant acme"),
    _Command("Tenants", "onboard", administering.onboard, "memlane onboard acme"),
    _Command("Tenants", "users", administering.users, "memlane users acme"),
    _Command("Tenants", "stats", administering.stats, "memlane stats acme"),
    _Command("Tenants", "sweep", administering.sweep, "memlane sweep acme"),
    _Command("Tenants", "forget-tenant", administering.forget_tenant, "memlane forget-tenant acme"),
    _Command(
        "Tenants", "reembed", administering.reembed, "memlane reembed acme --model local --plan"
    ),
    _Command("Tenants", "emulator", emulating.emulator, "memlane emulator --bucket my-memory"),
)


@runtime_checkable
class _Mistake(Protocol):
    """What typer raises for a command line it cannot parse; its class is not public."""

    exit_code: int

    def format_message(self) -> str: ...


class _Group(TyperGroup):
    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        told = list(sys.argv[1:] if args is None else args)
        options = told[: told.index("--")] if "--" in told else told
        try:
            code = super().main(told, prog_name, complete_var, False, windows_expand_args, **extra)
            sys.stdout.flush()  # here, where it can still be told that the disk is full
        except (typer.Abort, BrokenPipeError):
            code = _FAILED
        except Exception as error:  # noqa: BLE001 - bugs are raised again
            code = _explain(error, as_json="--json" in options, debug="--debug" in options)
        _drop_unwritten()
        if standalone_mode:
            sys.exit(code if isinstance(code, int) else 0)
        return code

    def format_help(self, ctx: Any, formatter: Any) -> None:
        del ctx, formatter
        out = Output()
        out.say(Text("memlane", style="bold"), "  long-term memory for AI agents")
        out.say("\nUsage: memlane COMMAND [OPTIONS]\n")
        for group in dict.fromkeys(one.group for one in _COMMANDS):
            grid = Table.grid(padding=(0, 2))
            grid.add_column(style="bold cyan", no_wrap=True, min_width=8)
            grid.add_column()
            for one in _COMMANDS:
                if one.group == group:
                    about = (self.commands[one.name].help or "").partition("\n")[0].rstrip(".")
                    grid.add_row(one.name, Text(about).append(f"\n{one.example}", style="dim"))
            out.show(Panel(grid, title=group, title_align="left", border_style="dim"))
        out.say("memlane COMMAND --help tells all of its options; memlane --version the version.")


def _drop_unwritten() -> None:
    """Let go of an answer that cannot be written, or it would fail at exit once more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: Exception, *, as_json: bool, debug: bool) -> int:
    """Print what went wrong and return the exit code, or raise it when it is a bug of ours."""
    out = Output(as_json=as_json)
    name, reason, remedy, code = type(error).__name__, str(error), None, _FAILED
    if isinstance(error, MemlaneError):
        reason, remedy = error.reason, error.remedy
        if isinstance(error, ValidationError) and not isinstance(error, EmbeddingSpaceError):
            code = _USAGE
    elif isinstance(error, _Mistake):
        name, reason, code = "UsageError", error.format_message().rstrip("."), error.exit_code
        remedy = "see --help"
    elif isinstance(error, OSError):
        reason = error.strerror or reason or name
        if error.filename is not None:
            reason = f"{error.filename}: {reason}"
    else:
        raise error
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    if as_json:
        more = {"imported": error.imported} if isinstance(error, ImportFileError) else {}
        out.failure(name, reason, remedy, **more)
    else:
        line = f"error: {reason}; {remedy}" if remedy else f"error: {reason}"
        sys.stderr.write(clean(line).replace("\n", " ") + "\n")
    return code


app = typer.Typer(
    cls=_Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", metavar=FLAG, help="Show the version.")
    ] = False,
) -> None:
    """Long-term memory for AI agents."""
    if show_version:
        try:
            sys.stdout.write(f"memlane {version('memlane')}\n")
        except PackageNotFoundError:
            sys.stdout.write("memlane, not installed\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.get_help()
        raise typer.Exit(_USAGE)


for _one in _COMMANDS:
    _example = _one.example.replace("[", r"\[")
    app.command(_one.name, epilog=f"Example: [cyan]{_example}[/cyan]")(_one.function)


def run() -> None:
    """Run the command for this process."""
    if cast("object", sys.stdout) is None:  # closed by whoever started it
        sys.stderr.write("error: standard output is closed; send it to a file or to /dev/null\n")
        sys.exit(_FAILED)
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding gets marks in place of letters, not a traceback.
        if callable(reconfigure := getattr(stream, "reconfigure", None)):
            reconfigure(errors="replace")
    app(prog_name="memlane")

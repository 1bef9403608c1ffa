"""How answers look: for people in 80 columns, or as JSON for scripts."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

import anyio
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from memlane import ForgetReceipt, Match, MemoryRecord, MetadataValue

__all__ = ("Output", "as_data", "clean", "receipt_data", "when")

T = TypeVar("T")

_PATIENCE: Final = 2.0  # seconds before anything is said about waiting
_BAR: Final = 10
# C0 but tab and new line, DEL and C1, marks of direction, lone surrogates.
_STEERING: Final = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
_WORDS_FOR_RESIDUE: Final = {
    "none": "none",
    "wal": "the write-ahead log, until other programs let go of the file",
    "backups": "backups, until they are replaced",
    "unknown": "not known: the store does not say, or its file is large or in use",
}


def clean(text: str) -> str:
    """Return text that cannot steer a terminal: no escape, no hidden direction."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def when(moment: datetime | None) -> str:
    """Return a moment as people write it, in UTC."""
    return "never" if moment is None else moment.strftime("%Y-%m-%d %H:%M")


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def as_data(record: MemoryRecord) -> dict[str, Any]:
    """Return a record in the shape scripts read."""
    return {
        "id": record.id,
        "text": record.text,
        "tenant": record.scope.tenant,
        "user": record.scope.user,
        "agent": record.scope.agent,
        "session": record.scope.session,
        "namespace": record.namespace,
        "kind": record.kind,
        "actor": record.actor,
        "source": record.source,
        "tags": list(record.tags),
        "metadata": _plain(record.metadata),
        "occurred_at": _stamp(record.occurred_at),
        "stored_at": _stamp(record.stored_at),
        "updated_at": _stamp(record.updated_at),
        "expires_at": _stamp(record.expires_at),
        "version": record.version,
        "space": record.space,
        "valid_from": _stamp(record.valid_from),
        "valid_to": _stamp(record.valid_to),
        "images": [dataclasses.asdict(note) for note in record.images],
    }


def _plain(value: MetadataValue) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where a command's answer goes.

    Args:
        as_json: Answer in JSON.
        console: What people read; decorated only when it is a terminal.
        side: What people read besides the answer: progress and notes.
    """

    as_json: bool = False
    console: Console = field(default_factory=_console)
    side: Console = field(default_factory=lambda: _console(stderr=True))

    @property
    def unicode(self) -> bool:
        """Whether the reader's encoding has more than letters."""
        return self.console.encoding.lower().startswith("utf")

    def show(self, what: RenderableType) -> None:
        """Print something for people; without trailing blanks where it is not a terminal."""
        if self.console.is_terminal:
            self.console.print(what)
            return
        with self.console.capture() as captured:
            self.console.print(what)
        lines = captured.get().removesuffix("\n").split("\n")
        sys.stdout.write("".join(f"{line.rstrip()}\n" for line in lines))

    def mark(self, *, good: bool) -> Text:
        """Return the sign of something that is as it should be, or is not."""
        signs = ("✗", "✓") if self.unicode else ("NO", "ok")
        return Text(signs[good], style="bold green" if good else "bold red")

    def data(self, value: object) -> None:
        """Print one JSON value; ASCII, so that no encoding can spoil it."""
        sys.stdout.write(json.dumps(value) + "\n")

    def failure(self, name: str, reason: str, remedy: str | None, **more: object) -> None:
        """Print an error for scripts, on standard error, with what else it knows."""
        error = {"type": name, "message": reason, "remedy": remedy, **more}
        sys.stderr.write(json.dumps({"error": error}) + "\n")

    def say(self, *parts: str | Text, indent: int = 0) -> None:
        """Print one line for people, or several."""
        line = Text.assemble(*(Text(clean(p)) if isinstance(p, str) else p for p in parts))
        self.show(Padding(line, (0, 0, 0, indent), expand=False) if indent else line)

    def note(self, text: str) -> None:
        """Say something besides the answer, to people only."""
        if not self.as_json:
            self.side.print(Text(clean(f"note: {text}"), style="dim"))

    def record(self, record: MemoryRecord) -> None:
        """Print all of one record."""
        if self.as_json:
            self.data(as_data(record))
            return
        scope = record.scope
        rows = {
            "id": record.id,
            "tenant": scope.tenant,
            "user": scope.user,
            "agent": scope.agent,
            "session": scope.session,
            "namespace": record.namespace,
            "kind": record.kind,
            "who": record.actor,
            "source": record.source,
            "tags": ", ".join(record.tags),
            "metadata": json.dumps(_plain(record.metadata), ensure_ascii=False)
            if record.metadata
            else None,
            "happened": f"{when(record.occurred_at)} UTC",
            "stored": f"{when(record.stored_at)} UTC",
            "updated": f"{when(record.updated_at)} UTC" if record.version > 1 else None,
            "expires": f"{when(record.expires_at)} UTC" if record.expires_at else None,
            "true from": f"{when(record.valid_from)} UTC" if record.valid_from else None,
            "true until": f"{when(record.valid_to)} UTC" if record.valid_to else None,
            "pictures": ", ".join(note.name or note.sha256[:12] for note in record.images),
            "version": str(record.version),
            "text": record.text,
        }
        self.rows({name: value for name, value in rows.items() if value})

    def rows(self, rows: Mapping[str, str]) -> None:
        """Print names and values, one pair below the other."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in rows.items():
            grid.add_row(name, Text(clean(value)))
        self.show(grid)

    def records(self, records: Sequence[MemoryRecord]) -> None:
        """Print records of a listing: a line about each, and its text below."""
        for record in records:
            agent = record.scope.agent and f"agent {record.scope.agent}"
            about = [when(record.occurred_at), record.actor, record.namespace, record.kind, agent]
            self.say(
                Text(record.id, style="cyan"),
                Text("  " + clean("  ".join(part for part in about if part)), style="dim"),
            )
            self.say(record.text, indent=2)

    def matches(self, matches: Sequence[Match], *, why: bool) -> None:
        """Print an answer as a table, best first."""
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        table.add_column("score", justify="right", no_wrap=True, style="bold")
        table.add_column("similar", justify="right", no_wrap=True)
        table.add_column("when", no_wrap=True)
        table.add_column("who", max_width=12, overflow="fold")
        table.add_column("text", overflow="fold", ratio=1)
        for match in matches:
            record = match.record
            text = Text(clean(match.passage))
            text.append(f"\n{clean(record.id)}", style="dim")
            if why:
                text.append("\n").append_text(self.reasons(match))
            table.add_row(
                f"{match.score:.2f}",
                "-" if match.similarity is None else f"{match.similarity:.2f}",
                record.occurred_at.strftime("%Y-%m-%d"),
                Text(clean(record.actor or "-")),
                text,
            )
        self.show(table)

    def reasons(self, match: Match) -> Text:
        """Return why a match ranks: each feature's part of its score."""
        full, empty = ("█", "░") if self.unicode else ("#", ".")
        lines = Text()
        shares = sorted(match.features.items(), key=lambda item: -item[1])
        for name, value in shares:
            part = value / match.score if match.score else 0.0
            if part < 0.005:  # noqa: PLR2004 - rounds to nothing
                continue
            filled = round(part * _BAR)
            lines.append("\n" if lines else "")
            lines.append(f"{name:<10} ", style="dim")
            lines.append(full * filled, style="green").append(empty * (_BAR - filled), style="dim")
            lines.append(f" {part:4.0%}")
        return lines

    def receipt(self, receipt: ForgetReceipt) -> None:
        """Print what `forget` did."""
        if self.as_json:
            self.data(receipt_data(receipt))
            return
        self.rows(
            {
                "found": f"{receipt.found:,}",
                "deleted": f"{receipt.deleted:,}",
                "failed": ", ".join(receipt.failed) or "none",
                "verified empty": "yes, read again" if receipt.verified_empty else "NO",
                "bytes left in": _WORDS_FOR_RESIDUE[receipt.residue],
            }
        )

    async def patiently(self, doing: str, work: Callable[[], Awaitable[T]]) -> T:
        """Await work, and after two seconds tell people on a terminal what is going on."""
        answer: list[T] = []

        async def tell() -> None:
            await anyio.sleep(_PATIENCE)
            with self.side.status(doing):
                await anyio.sleep_forever()

        if not self.side.is_terminal:
            return await work()
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(tell)
            try:
                answer.append(await work())
            except Exception as exc:  # noqa: BLE001 - raised below, without an ExceptionGroup
                failure = exc
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return answer[0]

    @contextmanager
    def progress(
        self, doing: str, *, total: int | None, of_bytes: bool = False
    ) -> Generator[Callable[[int], None]]:
        """Yield what to call with the work done so far; a bar appears after two seconds.

        Args:
            doing: What is under way.
            total: How much work there is, where that is known.
            of_bytes: It is counted in bytes.
        """
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn() if of_bytes else MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.side,
            transient=True,
            disable=not self.side.is_terminal,
        )
        task = bar.add_task(doing, total=total)
        since = time.monotonic()

        def advance(done: int) -> None:
            bar.update(task, completed=done)
            if not bar.live.is_started and time.monotonic() - since > _PATIENCE:
                bar.start()

        try:
            yield advance
        finally:
            bar.stop()


def receipt_data(receipt: ForgetReceipt) -> dict[str, Any]:
    """Return a receipt in the shape scripts read."""
    return {
        "found": receipt.found,
        "deleted": receipt.deleted,
        "failed": list(receipt.failed),
        "verified_empty": receipt.verified_empty,
        "residue": receipt.residue,
    }

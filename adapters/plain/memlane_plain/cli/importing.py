"""`memlane import`: whole conversations from a file, all of it or nothing, and once."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO, Final, cast, get_args

import anyio.lowlevel
import typer

from memlane import ConflictError, MemoryClient, NewMemory, NotFoundError, Scope, ValidationError
from memlane.writing import RecordIds, new_record
from memlane_plain.cli.exported import is_export, take_in
from memlane_plain.cli.options import Call, UsageError, command, refuse
from memlane_plain.cli.transcripts import (
    MAX_LINE_BYTES,
    Entry,
    Form,
    TranscriptError,
    decoded,
    detect,
    read,
)

__all__ = ("entries", "form_of", "import_", "opened")

_BATCH: Final = 256


@dataclass(frozen=True, slots=True)
class _Planned:
    entry: Entry
    scope: Scope
    new: NewMemory


@dataclass(slots=True)
class _Report:
    form: Form
    messages: int = 0
    stored: int = 0
    already_there: int = 0
    users: set[tuple[str | None, str]] = field(default_factory=set[tuple[str | None, str]])
    sessions: set[Scope] = field(default_factory=set[Scope])


@contextmanager
def opened(source: str) -> Generator[BinaryIO]:
    """Yield a file that can be read twice; what cannot, such as a pipe, is copied first.

    Raises:
        OSError: There is no such file, or it may not be read.
    """
    if source == "-":
        with _copied(sys.stdin.buffer) as copy:
            yield copy
        return
    with Path(source).open("rb") as file:
        if file.seekable():
            yield file
        else:
            with _copied(file) as copy:
                yield copy


@contextmanager
def _copied(stream: BinaryIO) -> Generator[BinaryIO]:
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        yield cast("BinaryIO", copy)


def _lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    file.seek(0)
    return decoded(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""))


def form_of(file: BinaryIO) -> Form:
    """Return the form of an open file, told by its first line.

    Raises:
        TranscriptError: It has none of ours.
    """
    return detect(_lines(file))


def entries(file: BinaryIO, form: Form) -> Iterator[Entry]:
    """Yield what an open file holds, from its beginning.

    Raises:
        TranscriptError: A line is not of this form.
    """
    return read(_lines(file), form)


def _planned(file: BinaryIO, form: Form, *, call: Call, session: str | None) -> Iterator[_Planned]:
    """Yield records to be; the same file gives the same idempotency keys."""
    said: dict[Scope, int] = {}
    for entry in entries(file, form):
        user = entry.user if call.user is None else call.user
        if user is None:
            refuse(f"line {entry.line} names no user", "give --user")
        try:
            scope = call.scope_of(
                user,
                tenant=entry.tenant if call.tenant is None else call.tenant,
                agent=entry.agent,
                session=entry.session or session,
            )
        except UsageError:
            raise
        except ValidationError as exc:
            raise _at(entry, exc) from exc
        place = said.get(scope, 0)
        said[scope] = place + 1
        yield _Planned(entry, scope, _new(entry, scope, place))


def _new(entry: Entry, scope: Scope, place: int) -> NewMemory:
    metadata = dict(entry.metadata or {})
    if entry.role is not None:
        metadata.setdefault("role", entry.role)
    key = None
    if entry.id is None:
        whose = [scope.tenant, scope.user, scope.agent, scope.session]
        raw = json.dumps([*whose, place, entry.text]).encode()
        key = f"import:{hashlib.sha256(raw).hexdigest()}"
    return NewMemory(
        content=entry.text,
        namespace=entry.namespace or "/",
        kind=entry.kind or "message",
        metadata=metadata,
        tags=entry.tags,
        actor=entry.actor,
        occurred_at=entry.occurred_at,
        record_id=entry.id,
        idempotency_key=key,
        source="import",
    )


def _at(entry: Entry, exc: ValidationError) -> TranscriptError:
    return TranscriptError(f"line {entry.line}: {exc.reason}", remedy=exc.remedy)


async def _check(client: MemoryClient, planned: Iterator[_Planned], call: Call) -> int:
    """Refuse a file with a line that cannot be stored, and return how many can."""
    now, ids, space = datetime.now(UTC), RecordIds(), client.space.id
    lines: dict[tuple[str | None, str, str | None, str], int] = {}
    total = 0
    for one in planned:
        entry, scope = one.entry, one.scope
        try:
            new_record(one.new, scope=scope, now=now, ids=ids, space=space)
        except ValidationError as exc:
            raise _at(entry, exc) from exc
        if entry.id is not None:
            key = (scope.tenant, scope.user, scope.agent, entry.id)
            if key in lines:
                raise TranscriptError(
                    f"line {entry.line}: the id {entry.id!r} is that of line {lines[key]}",
                    remedy="give each line an id of its own, or none",
                )
            lines[key] = entry.line
            await _is_there(client, one, call)
        total += 1
        if not total % _BATCH:
            await anyio.lowlevel.checkpoint()  # lets what tells people to wait have its turn
    return total


async def _is_there(client: MemoryClient, one: _Planned, call: Call) -> bool:
    """Say whether a line with an id of its own was stored before."""
    entry = one.entry
    if entry.id is None or not call.made:
        return False
    try:
        before = await client.get(entry.id, scope=one.scope)
    except NotFoundError:
        return False
    if before.text != entry.text:
        raise TranscriptError(
            f"line {entry.line}: the id {entry.id!r} has another text in the store",
            remedy="use `memlane update` to change it, or another id",
        )
    return True


async def _store(
    client: MemoryClient, batch: Sequence[_Planned], report: _Report, call: Call
) -> None:
    """Store lines, a call for each scope, and count those that were there before."""
    by_scope: dict[Scope, list[_Planned]] = {}
    for one in batch:
        by_scope.setdefault(one.scope, []).append(one)
    for scope, mine in by_scope.items():
        fresh = [one.new for one in mine if not await _is_there(client, one, call)]
        since = datetime.now(UTC)
        try:
            records = await client.store_many(fresh, scope=scope)
            stored = sum(record.stored_at >= since for record in records)
        except ConflictError:
            stored = await _store_each(client, fresh, scope, since)
        report.messages += len(mine)
        report.stored += stored
        report.already_there += len(mine) - stored
        report.users.add((scope.tenant, scope.user))
        if scope.session is not None:
            report.sessions.add(scope)


async def _store_each(
    client: MemoryClient, fresh: Sequence[NewMemory], scope: Scope, since: datetime
) -> int:
    """Store one at a time: a line whose record was changed since it was imported is there."""
    stored = 0
    for new in fresh:
        try:
            [record] = await client.store_many([new], scope=scope)
        except ConflictError:
            continue
        stored += record.stored_at >= since
    return stored


@command
async def import_(
    call: Call,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help='JSONL, a transcript or an export; "-" is standard input.'
        ),
    ],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORM",
            help="jsonl, transcript or export; told by the content if left out.",
        ),
    ] = None,
) -> None:
    """Remember whole conversations from a file, or what was exported.

    JSONL is one object per line: "text", and as needed "tenant", "user",
    "agent", "session", "actor", "role", "occurred_at", "namespace", "kind",
    "metadata", "tags", "id".

    A transcript is lines of "Name: text", each with a [2026-03-14 09:30]
    before it or not; indented lines and lines without a name continue the
    one above. A time without a zone is UTC.

    --tenant, --user, --agent and --session win over what the lines say. With
    a bad line nothing is stored; a file imported twice is stored once.

    What `memlane export` wrote becomes the memory of --user, page by page: with
    a damaged page what is before it is stored. Repeated, it goes on there.
    """
    if form is not None and form not in {*get_args(Form), "export"}:
        refuse(f"--format {form!r} is unknown", "use jsonl, transcript or export")
    with opened(source) as file:
        if form == "export" or (form is None and is_export(file)):
            await take_in(call, file)
            return
        report = _Report(form_of(file) if form is None else cast("Form", form))
        stem = "import" if source == "-" else Path(source).stem
        session = stem if report.form == "transcript" else None
        async with call.client(making=True) as client:
            total = await call.out.patiently(
                "Reading",
                lambda: _check(
                    client, _planned(file, report.form, call=call, session=session), call
                ),
            )
            planned = _planned(file, report.form, call=call, session=session)
            with call.out.progress("Storing", total=total) as advance:
                while batch := list(islice(planned, _BATCH)):
                    await _store(client, batch, report, call)
                    advance(report.messages)
    _tell(call, report)


def _tell(call: Call, report: _Report) -> None:
    users = sorted(report.users, key=lambda user: (user[0] or "", user[1]))
    if call.out.as_json:
        call.out.data(
            {
                "format": report.form,
                "messages": report.messages,
                "stored": report.stored,
                "already_there": report.already_there,
                "sessions": len(report.sessions),
                "users": [{"tenant": tenant, "user": user} for tenant, user in users],
            }
        )
        return
    names = [f"{user} of {tenant}" if tenant else user for tenant, user in users[:3]]
    more = f" and {len(users) - 3:,} more" if len(users) > 3 else ""  # noqa: PLR2004
    call.out.rows(
        {
            "stored": f"{report.stored:,} of {report.messages:,} messages",
            "already there": f"{report.already_there:,}",
            "sessions": f"{len(report.sessions):,}",
            "users": ", ".join(names) + more,
        }
    )

"""`memlane export`: memories in a file, whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Final, cast

import typer

from memlane import InvalidCursorError, MemlaneError, MemoryClient, Progress
from memlane_plain.cli.exported import whole_pages
from memlane_plain.cli.options import (
    FLAG,
    Call,
    Filter,
    Namespace,
    UsageError,
    command,
    json_object,
    refuse,
)

__all__ = ("export",)

_PRIVATE: Final = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What to export, with the same words as `MemoryClient.export`."""

    call: Call
    namespace: str | None
    condition: dict[str, object] | None
    vectors: bool

    def lines(
        self, client: MemoryClient, *, after: str | None, advance: Callable[[int], None]
    ) -> AsyncIterator[str]:
        def on_progress(progress: Progress) -> None:
            advance(progress.done)

        return client.export(
            scope=self.call.scope,
            namespace=self.namespace,
            filter=self.condition,
            vectors=self.vectors,
            after=after,
            on_progress=on_progress,
        )


@command
async def export(
    call: Call,
    to: Annotated[
        str, typer.Option("--to", metavar="FILE", help='Where to; "-" is standard output.')
    ] = "-",
    *,
    namespace: Namespace = None,
    condition: Filter = None,
    vectors: Annotated[
        bool,
        typer.Option("--vectors", metavar=FLAG, help="Vectors too; a copy then needs no model."),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", metavar=FLAG, help="Go on with an export that was cut short."),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", metavar=FLAG, help="Put it in an older file's place.")
    ] = False,
) -> None:
    """Write all of a user, agent or session to a file.

    The file is JSONL with checksums, and `memlane import` reads it, into the
    same or another store, for the same or another user. It appears when it is
    whole; until then it is FILE.part.
    """
    scope = call.scope
    wanted = _Wanted(
        call=call,
        namespace=namespace,
        condition=json_object(condition, option="--filter"),
        vectors=vectors,
    )
    if to == "-":
        if resume or replace or call.out.as_json:
            refuse("--resume, --replace and --json need a file", "give --to FILE")
        async with call.client() as client:
            await _to_stdout(wanted, client)
        return
    path = Path(to)
    part = _part_of(path, resume=resume, replace=replace)
    async with call.client() as client:
        records = await _to_part(wanted, client, part, resume=resume)
    size = _put(part, path)
    if call.out.as_json:
        call.out.data({"to": str(path), "user": scope.user, "records": records, "bytes": size})
    else:
        call.out.say(f"exported {records:,} memories to {path}, {size:,} bytes")


def _part_of(path: Path, *, resume: bool, replace: bool) -> Path:
    """Return the file to write to until all is there."""
    part = path.with_name(f"{path.name}.part")
    if path.is_dir():
        refuse(f"{path} is a folder", "name a file in it")
    if path.exists() and not replace:
        refuse(f"{path} exists already", "give --replace, or another name")
    if part.exists() and not (resume or replace):
        refuse(f"{part} is of an export that was cut short", "give --resume, or --replace")
    return part


def _put(part: Path, path: Path) -> int:
    part.replace(path)
    return path.stat().st_size


async def _to_stdout(wanted: _Wanted, client: MemoryClient) -> None:
    try:
        async for line in wanted.lines(client, after=None, advance=lambda _: None):
            sys.stdout.write(line)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read it has enough; what is still buffered must not fail at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None


def _opened(part: Path, *, resume: bool) -> int:
    """Return an open file that nobody else may read."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    if not resume:
        # Made anew: what lies there may be another's, or a link to a file of one's own.
        part.unlink(missing_ok=True)
        flags |= os.O_EXCL
    opened = os.open(part, flags, _PRIVATE)
    if hasattr(os, "fchmod"):
        os.fchmod(opened, _PRIVATE)
    return opened


async def _to_part(wanted: _Wanted, client: MemoryClient, part: Path, *, resume: bool) -> int:
    """Write what is still missing, and return how many records the whole has."""
    opened = _opened(part, resume=resume)
    try:
        return await _written(wanted, client, part, opened)
    except UsageError:
        raise
    except (MemlaneError, OSError) as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(part)
        wanted.call.out.note(f"what there is so far is in {part}; --resume goes on from there")
        raise


async def _written(wanted: _Wanted, client: MemoryClient, part: Path, descriptor: int) -> int:
    with os.fdopen(descriptor, "r+b") as opened:
        file = cast("BinaryIO", opened)
        begun = whole_pages(file)
        done = begun.records
        is_untouched = True
        file.seek(begun.size)

        def advanced(count: int) -> None:
            nonlocal done
            done = count
            advance(count)

        try:
            with wanted.call.out.progress("Exporting", total=None) as advance:
                async for line in wanted.lines(client, after=begun.after, advance=advanced):
                    if is_untouched:  # now it is known that the file is of this export
                        file.truncate()
                        is_untouched = False
                    file.write(line.encode())
        except InvalidCursorError:
            refuse(f"{part} is of another export", "give the options it was begun with")
        file.flush()
        os.fsync(file.fileno())
    return done

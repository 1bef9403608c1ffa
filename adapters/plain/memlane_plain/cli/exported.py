"""Files that `export` wrote: known by their first line, and taken in."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from memlane import ImportFileError, Progress
from memlane.portable import MAX_LINE_BYTES, Gatherer, is_header
from memlane_plain.cli.options import Call

__all__ = ("Begun", "is_export", "take_in", "whole_pages")

_BEGINNING: Final = 4_096


@dataclass(frozen=True, slots=True)
class Begun:
    """What is whole of a file that was cut short.

    Args:
        size: Bytes up to the end of the last whole page.
        records: Records on these pages.
        after: Where to go on; None at the beginning.
    """

    size: int = 0
    records: int = 0
    after: str | None = None


def is_export(file: BinaryIO) -> bool:
    """Say whether an open file begins as an export does."""
    file.seek(0)
    while line := file.readline(_BEGINNING):
        if line.removeprefix(codecs.BOM_UTF8).strip():
            return is_header(line)
    return False


def _lines(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    return iter(lambda: file.readline(MAX_LINE_BYTES + 3), b"")


def whole_pages(file: BinaryIO) -> Begun:
    """Return how much of an open file is whole; its end, too, is written anew."""
    gatherer, begun, size = Gatherer(), Begun(), 0
    try:
        for line in _lines(file):
            size += len(line)
            page = gatherer.add(line)
            if page is not None:
                begun = Begun(size, begun.records + len(page.records), page.after)
    except ImportFileError:
        pass  # cut, or damaged: what is whole before it is whole
    return begun


async def take_in(call: Call, file: BinaryIO) -> None:
    """Store an open export for the scope that the command line names, and tell what was done."""
    scope = call.scope
    read = 0

    def lines() -> Iterator[bytes]:
        nonlocal read
        for line in _lines(file):
            read += len(line)
            yield line

    total = file.seek(0, os.SEEK_END)
    async with call.client(making=True) as client:
        with call.out.progress("Importing", total=total, of_bytes=True) as advance:

            def on_progress(progress: Progress) -> None:
                del progress
                advance(read)

            try:
                receipt = await client.import_records(lines(), scope=scope, on_progress=on_progress)
            except ImportFileError as error:
                if error.imported and not call.out.as_json:
                    call.out.note(f"{error.imported:,} memories were stored before that")
                raise
    if call.out.as_json:
        call.out.data(
            {
                "format": "export",
                "imported": receipt.imported,
                "skipped": receipt.skipped,
                "embedded": receipt.embedded,
            }
        )
    else:
        call.out.rows(
            {
                "imported": f"{receipt.imported:,} memories",
                "left out": f"{receipt.skipped:,}, there already or expired",
                "embedded anew": f"{receipt.embedded:,}",
            }
        )

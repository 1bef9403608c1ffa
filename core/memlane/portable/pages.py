"""The pages of a file, each known to be whole before anybody sees it."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from memlane.errors import ImportFileError, MemlaneError, ValidationError
from memlane.patterns import lazy
from memlane.portable.fields import (
    TOO_MUCH,
    FileRecord,
    damaged,
    nothing_left,
    outside_strings,
    parsed,
    record_of,
    taken,
)
from memlane.portable.lines import (
    FORMAT,
    MAX_LINE_BYTES,
    MAX_PAGE_BYTES,
    NAME,
    PAGE_BYTES,
    PAGE_RECORDS,
    Checksum,
)
from memlane.runtime import WorkerThreads

__all__ = ("FilePage", "FilePages", "Gatherer", "GivenLines", "is_header")

GivenLines: TypeAlias = "Iterable[str | bytes] | AsyncIterable[str | bytes]"

_AT_ONCE: Final = 500  # lines
_BYTES_AT_ONCE: Final = 1024 * 1024
_BOM: Final = "\ufeff"
_KIND: Final = lazy(r'\s*\{\s*"(memlane|record|page|end)"\s*:')


@dataclass(frozen=True, slots=True)
class FilePage:
    """A page whose checksum is right.

    Args:
        records: What is on it.
        number: Its number, from 1.
        line: The line behind it.
        after: The cursor of an export that goes on there.
    """

    records: tuple[FileRecord, ...]
    number: int
    line: int
    after: str


def is_header(line: str | bytes) -> bool:
    """Say whether a file that begins with this line is an export, of whatever version."""
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    found = _KIND().match(text.removeprefix(_BOM))
    return found is not None and found[1] == "memlane"


class Gatherer:
    """Takes a file's lines, one after the other, and gives its pages.

    Lines may end as they like, and blank ones do not count; nor does a byte order mark.
    """

    def __init__(self) -> None:
        self.line = 0
        self.is_over = False
        self._has_header = False
        self._pages = 0
        self._records = 0
        self._lines: list[tuple[int, str]] = []
        self._bytes = 0

    def add(self, given: str | bytes) -> FilePage | None:
        """Take the next line; return the page that it ends.

        Raises:
            ImportFileError: The line, or its page, is damaged.
        """
        self.line += 1
        text = self._text(given)
        if not text.strip():
            return None
        if self.is_over:
            raise damaged(self.line, "comes behind the end", "remove it, or import it by itself")
        found = _KIND().match(text)
        kind = None if found is None else found[1]
        if not self._has_header:
            self._take_header(text, kind)
        elif kind == "record":
            self._keep(text)
        elif kind == "page":
            return self._page(text)
        elif kind == "end":
            self._end(text)
        else:
            parsed(text, self.line)
            raise damaged(self.line, "is no line of an export")
        return None

    def finish(self) -> None:
        """Tell whether all was there.

        Raises:
            ImportFileError: The file was cut.
        """
        if not self._has_header:
            raise ImportFileError("the file is empty", line=self.line, remedy="pass an export")
        if not self.is_over:
            raise ImportFileError(
                f"the file ends with line {self.line}, before its own end",
                line=self.line,
                remedy="what is whole was stored; import a copy that is whole for the rest",
            )

    def _text(self, given: object) -> str:
        if not isinstance(given, str | bytes):
            raise damaged(self.line, f"must be text, not {type(given).__name__}")
        if len(given) > MAX_LINE_BYTES + 2:
            raise damaged(self.line, f"has more than {MAX_LINE_BYTES:,} bytes")
        try:
            if isinstance(given, bytes):
                text = given.decode("utf-8")
            else:
                text = given
                text.encode("utf-8")
        except UnicodeError as exc:
            raise damaged(self.line, "is not UTF-8 text") from exc
        if self.line == 1:
            text = text.removeprefix(_BOM)
        return text.rstrip("\r\n")

    def _keep(self, text: str) -> None:
        self._bytes += len(text)
        most = PAGE_RECORDS if self._pages else PAGE_RECORDS + 1  # the header is on the first
        if self._bytes > MAX_PAGE_BYTES or len(self._lines) >= most:
            raise damaged(self.line, "is one too many for its page")
        self._lines.append((self.line, text))

    def _take_header(self, text: str, kind: str | None) -> None:
        if kind != "memlane":
            raise damaged(
                self.line, "is not how an export begins", "pass what `export` wrote, from its start"
            )
        told = parsed(text, self.line)
        if taken(told, "memlane", str, self.line) != NAME:
            raise damaged(self.line, "is not how an export begins")
        version = taken(told, "format", int, self.line)
        if version != FORMAT:
            raise damaged(
                self.line,
                f"is of format {version}, and this memlane reads {FORMAT}",
                "import it with a later memlane",
            )
        taken(told, "space", str, self.line)
        taken(told, "namespace", str, self.line)
        taken(told, "vectors", bool, self.line)
        if told.get("filter") is not None:
            taken(told, "filter", dict, self.line)
        told.pop("filter", None)
        nothing_left(told, self.line)
        self._has_header = True
        self._keep(text)

    def _page(self, text: str) -> FilePage:
        told = parsed(text, self.line)
        number = taken(told, "page", int, self.line)
        count = taken(told, "records", int, self.line)
        sha256 = taken(told, "sha256", str, self.line)
        after = taken(told, "after", str, self.line)
        nothing_left(told, self.line)
        self._weigh()
        lines = self._lines if self._pages else self._lines[1:]
        if number != self._pages + 1:
            raise damaged(self.line, f"ends page {number} where page {self._pages + 1} was to end")
        checksum = Checksum()
        checksum.add(f"{each}\n" for _, each in self._lines)
        whole = sha256 == checksum.told
        if not whole or count != len(lines):
            for line, each in lines:
                parsed(each, line)  # names the line, where one alone is to blame
            first = self._lines[0][0] if self._lines else self.line
            raise damaged(
                self.line, f"ends a page, from line {first}, that is not as it was written"
            )
        records = tuple(
            record_of(each, line, hashlib.sha256(each.encode()).digest()[:8])
            for line, each in lines
        )
        self._lines, self._bytes = [], 0
        self._pages, self._records = number, self._records + count
        return FilePage(records, number, self.line, after)

    def _weigh(self) -> None:
        # Before anything of the page is taken apart. Only a record that is a page by itself may
        # be longer than a page, and its strings are what makes it so.
        if self._bytes <= PAGE_BYTES:
            return
        outside = 0
        for line, text in self._lines:
            outside += outside_strings(text)
            if outside > PAGE_BYTES:
                raise damaged(line, TOO_MUCH)

    def _end(self, text: str) -> None:
        told = parsed(text, self.line)
        taken(told, "end", bool, self.line)
        pages = taken(told, "pages", int, self.line)
        records = taken(told, "records", int, self.line)
        nothing_left(told, self.line)
        if self._lines:
            raise damaged(self.line, "ends the file in the middle of a page")
        if (pages, records) != (self._pages, self._records):
            raise damaged(
                self.line,
                f"says that there are {pages} pages of {records} records, and "
                f"{self._pages} of {self._records} came before it",
            )
        self.is_over = True


class FilePages:
    """The pages of lines that somebody gives, read and taken apart away from the loop.

    Args:
        lines: Lines, or an open file; a file is never asked for more than a line may have.
        workers: A thread for it; what is given may take its time.

    Raises:
        ValidationError: These are no lines.
    """

    def __init__(self, lines: GivenLines, workers: WorkerThreads) -> None:
        self._workers = workers
        self._gatherer = Gatherer()
        self._ready: deque[FilePage] = deque()
        self._failure: MemlaneError | None = None
        self._ended = False
        self._is_unreadable = False
        self._later: AsyncIterator[str | bytes] | None = None
        self._now: Iterator[str | bytes] = iter(())
        if isinstance(lines, AsyncIterable):
            self._later = aiter(lines)
        elif isinstance(lines, io.IOBase):
            read = cast("Callable[[int], str | bytes]", lines.readline)
            self._now = iter(lambda: read(MAX_LINE_BYTES + 3) or None, None)
        elif isinstance(lines, Iterable) and not isinstance(lines, str | bytes | bytearray):
            self._now = iter(lines)
        else:
            raise ValidationError(
                f"lines must be lines, not {type(lines).__name__}",
                remedy="pass an open file, or a list of lines",
            )

    async def next(self) -> FilePage | None:
        """Return the next page; None after the last.

        Raises:
            ImportFileError: What comes next is damaged, or missing.
        """
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            given = None if self._later is None else await self._some(self._later)
            await self._workers.run(self._gather, given)
        return self._ready.popleft()

    async def _some(self, later: AsyncIterator[str | bytes]) -> list[str | bytes]:
        some: list[str | bytes] = []
        size = 0
        try:
            async for line in later:
                some.append(line)
                size += len(line) if isinstance(line, str | bytes) else 0
                if len(some) >= _AT_ONCE or size >= _BYTES_AT_ONCE:
                    break
        except UnicodeDecodeError:
            self._is_unreadable = True  # told behind what was read
        return some

    def _gather(self, given: list[str | bytes] | None) -> None:
        # What is whole before a damaged line is given out before the damage is told.
        lines = self._now if given is None else iter(given)
        number = size = 0
        try:
            for line in lines:
                page = self._gatherer.add(line)
                if page is not None:
                    self._ready.append(page)
                number += 1
                size += len(line)
                if given is None and (page or number >= _AT_ONCE or size >= _BYTES_AT_ONCE):
                    return
            if self._is_unreadable:
                self._failure = self._unreadable()
            elif not given:
                self._ended = True
                self._gatherer.finish()
        except MemlaneError as error:
            self._failure = error
        except UnicodeDecodeError:
            self._failure = self._unreadable()

    def _unreadable(self) -> ImportFileError:
        # Not chained: what could not be decoded is in that error, and is somebody's memories.
        return damaged(
            self._gatherer.line + 1,
            "or one behind it is not text of the file's encoding",
            "open the file with 'rb' to be told which line, and what is whole before it is stored",
        )

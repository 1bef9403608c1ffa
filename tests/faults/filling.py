"""What a process does on a disk that is full at some byte, and when there is space again."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from anyio import to_thread

from faults.children import Line
from faults.lives import USERS, Ids, Life, Stage, traced
from faults.texts import open_client
from memlane import MemoryClient
from memlane.errors import MemlaneError

_PAGE: Final = 4096


class Disk(Protocol):
    """A disk whose space a test decides."""

    def fill(self, position: int) -> None:
        """Let no write succeed beyond a position."""
        ...

    def clear(self) -> None:
        """Let all writes succeed."""
        ...


class FileLimit:
    """No file of this process grows beyond a position: the write that would is cut off there."""

    def fill(self, position: int) -> None:
        """Let no file grow beyond a position."""
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (position, most))

    def clear(self) -> None:
        """Let all files grow."""
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


class SmallDisk:
    """A file system of few pages, which another file takes.

    Args:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self, position: int) -> None:
        """Leave so many bytes free, in whole pages."""
        found = os.statvfs(self._filler.parent)
        free = found.f_bavail * found.f_frsize
        self._filler.write_bytes(bytes(max(0, free - position // _PAGE * _PAGE)))

    def clear(self) -> None:
        """Leave all bytes free."""
        self._filler.unlink()


def prepare_name(number: int) -> str:
    """Return the name of the file of one position."""
    return f"{number}.db"


def is_copy(number: int) -> bool:
    """Say whether the file of a position has something in it before the disk is full."""
    return number % 4 != 3


async def prepare(line: Line, path: str) -> None:
    """Make a store with some records of two users."""
    async with open_client(path) as client:
        for user, count in (("ada", 8), ("bob", 30)):
            await Life(line, client, user, number=0, seed=0).store(count)


class _Attempt:
    """Every verb on a disk that is full somewhere.

    Args:
        line: To the parent.
        client: The store.
        number: Of the attempt.
        warm: The store was opened before the disk was full, so it can be read.
    """

    def __init__(
        self, line: Line, client: MemoryClient, *, number: int, warm: bool = False
    ) -> None:
        self._warm = warm
        self._line = line
        self.lives = [Life(line, client, user, number=number, seed=number) for user in USERS]
        self.unread: set[str] = set()

    async def each(self, step: Callable[[Life], Awaitable[None]]) -> None:
        """Let each user try."""
        for life in self.lives:
            if life.user in self.unread:
                continue
            try:
                await step(life)
            except MemlaneError:
                await self.look(life)

    async def look(self, life: Life) -> None:
        """Tell what is left after a failure, now or as soon as the file can be opened."""
        try:
            await life.remember()
        except MemlaneError:
            if self._warm:
                raise
            self.unread.add(life.user)
            return
        self.unread.discard(life.user)
        self._line.say("left", life.user, {key: turn for key, (_, turn) in life.mine.items()})

    async def look_again(self) -> None:
        """Tell what could not be told before."""
        for life in self.lives:
            if life.user in self.unread:
                await self.look(life)


async def _update(life: Life) -> None:
    if life.mine:
        await life.update()


async def _delete(life: Life) -> None:
    if life.mine:
        await life.delete(2)


_VERBS: Final = (
    lambda life: life.store(1),
    _update,
    lambda life: life.store(40),
    _delete,
    _update,
)


async def _try_all(attempt: _Attempt) -> None:
    for verb in _VERBS:
        await attempt.each(verb)
    await attempt.each(lambda life: life.forget() if life.user == "ada" else life.store(2))


async def _known(line: Line, path: Path) -> list[Ids]:
    async with open_client(path) as client:
        lives = _Attempt(line, client, number=0).lives
        for life in lives:
            await life.remember()
        return [life.mine for life in lives]


async def _go_on(attempt: _Attempt) -> None:
    """See that with space again every verb works, also on what was refused."""
    await attempt.look_again()
    for life in attempt.lives:
        await life.store(3)
        await life.update()
        await life.delete(1)
    await attempt.lives[0].forget()
    await attempt.lives[0].store(2)


async def _use(line: Line, path: Path, disk: Disk, *, number: int, position: int) -> None:
    known = await _known(line, path) if is_copy(number) else [{}, {}]
    stage = path.with_name(f"{path.name}.stage")
    stage.write_bytes(b"\0")
    # Else opening the file already meets the full disk.
    warm = number % 2 == 0 and is_copy(number)
    async with open_client(path) as client:
        attempt = _Attempt(line, client, number=number + 1, warm=warm)
        for life, mine in zip(attempt.lives, known, strict=True):
            life.mine = mine
        if warm:
            await traced(client, Stage(str(stage)), (1, 8, 1000)[number % 3])
        disk.fill(position)
        try:
            await _try_all(attempt)
            if number % 5 == 0:
                await client.aclose()
        finally:
            disk.clear()
        if number % 5:
            await _go_on(attempt)
            return
    async with open_client(path) as client:
        again = _Attempt(line, client, number=number + 10_000)
        again.unread = attempt.unread
        for life in again.lives:
            if life.user not in again.unread:
                await life.remember()
        await _go_on(again)


async def fill(line: Line, folder: str, small: bool, base: str, positions: list[int]) -> None:
    """Use a file for each position at which the disk is full, mostly copies of one, some new."""
    disk: Disk = SmallDisk(Path(folder)) if small else FileLimit()
    for number, position in enumerate(positions):
        path = Path(folder) / prepare_name(number)
        if is_copy(number):
            await to_thread.run_sync(shutil.copyfile, base, path)
        line.say("file", "", number)
        await _use(line, path, disk, number=number, position=position)
        line.say("end", "", number)
        line.hear()  # until the file has been looked at

"""What a process does until it is killed, telling each step before and after."""

from __future__ import annotations

import mmap
import os
import random
import resource
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import anyio

from faults.children import Line
from faults.texts import BATCH, Turn, key_of, metadata_of, new, open_client, scope_of, text_of
from memlane import MemoryClient
from memlane.errors import MemlaneError, PartialWriteError
from memlane.local import SqliteBackend

STAGES: Final = ("between", "begin", "insert", "delete", "other", "commit", "vacuum", "checkpoint")
"""What the writer was doing: the last statement it began before it was killed."""

USERS: Final = ("ada", "bob")

_MANY: Final = 100_000

Ids: TypeAlias = "dict[str, tuple[str, Turn]]"  # by key: the record's id and turn


def _stage_of(statement: str) -> str:
    if "wal_checkpoint" in statement:
        return "checkpoint"
    verb = statement.split(" ", 1)[0]
    return verb if verb in STAGES else "other"


class Stage:
    """A byte that outlives the process, and how many statements to live for."""

    def __init__(self, path: str, *, statements: int = _MANY) -> None:
        with Path(path).open("r+b") as file:
            self._byte = mmap.mmap(file.fileno(), 1)
        self._left = statements
        self.seen = 0

    def enter(self, stage: str) -> None:
        """Note where the process is."""
        self._byte[0] = STAGES.index(stage)

    def statement(self, text: str) -> None:
        """Note a statement that the writer begins; die when it is the one to die at."""
        self.seen += 1
        self.enter(_stage_of(text))
        if self.seen == self._left:
            os.kill(os.getpid(), signal.SIGKILL)


async def traced(client: MemoryClient, stage: Stage, checkpoint: int) -> None:
    backend = client._backend
    assert isinstance(backend, SqliteBackend)
    file = backend._file

    def trace() -> None:
        with file.writing() as connection:
            connection.execute(f"pragma wal_autocheckpoint = {checkpoint}")
            connection.set_trace_callback(stage.statement)

    await backend._writer.run(trace)


class Life:
    """One user's doings.

    Args:
        line: To the parent.
        client: The store.
        user: Who.
        number: Which life of the store it is, for keys that are new.
        seed: Decides all that is random.

    Attributes:
        user: Who.
        pick: What is random.
        mine: What is stored.
    """

    def __init__(
        self, line: Line, client: MemoryClient, user: str, *, number: int, seed: int
    ) -> None:
        self.pick = random.Random(f"{seed} {user} {number}")
        self._line = line
        self._client = client
        self.user = user
        self._scope = scope_of(user)
        self._number = number
        self._generation = 0
        self._count = 0
        self.mine: Ids = {}

    @property
    def name(self) -> str:
        """Of this life, until it is forgotten."""
        return f"{self.user}-{self._number}-{self._generation}"

    def _keys(self, count: int) -> list[str]:
        self._count += count
        return [key_of(self.name, self._count - each) for each in range(count)]

    @contextmanager
    def _told(self, verb: str, *details: Any) -> Generator[None]:
        self._line.say("will", self.user, verb, *details)
        try:
            yield
        except MemlaneError as error:
            stored = error.stored if isinstance(error, PartialWriteError) else ()
            cause = error.__cause__ if stored else error
            keys = [each.metadata["key"] for each in stored]
            self._line.say("failed", self.user, verb, type(cause).__name__, str(error), keys)
            raise
        if verb != "forget":
            self._line.say("did", self.user, verb)

    async def remember(self) -> None:
        """Read what an earlier life left, or a call that failed."""
        self.mine.clear()
        async for record in self._client.iterate(scope=self._scope):
            text, version = record.metadata["text"], record.metadata["version"]
            assert isinstance(text, int)
            assert isinstance(version, int)
            self.mine[str(record.metadata["key"])] = (record.id, Turn(text, version))

    async def store(self, count: int) -> None:
        """Store several records, in one call."""
        keys, how = self._keys(count), self.pick.choice(["ulid", "own", "event"])
        with self._told("store_many", keys, BATCH):
            stored = await self._client.store_many(
                [new(key, how=how) for key in keys], scope=self._scope
            )
        self.mine |= {
            key: (record.id, Turn(0, 1)) for key, record in zip(keys, stored, strict=True)
        }

    async def update(self) -> None:
        """Change one record: its text, or only what is said about it."""
        key = self.pick.choice(sorted(self.mine))
        record_id, turn = self.mine[key]
        text = self.pick.random() < 0.7
        after = Turn(turn.text + text, turn.version + 1)
        fields: dict[str, Any] = {"text": text_of(key, after.text)} if text else {}
        expected = self.pick.choice([None, turn.version])
        with self._told("update", key, turn, after):
            await self._client.update(
                record_id,
                scope=self._scope,
                metadata=metadata_of(key, after),
                expected_version=expected,
                **fields,
            )
        self.mine[key] = (record_id, after)

    async def delete(self, count: int) -> None:
        """Delete some records, in one call."""
        keys = self.pick.sample(sorted(self.mine), min(count, len(self.mine)))
        with self._told("delete", keys):
            gone = await self._client.delete([self.mine[key][0] for key in keys], scope=self._scope)
        assert gone == len(keys)
        for key in keys:
            del self.mine[key]

    async def forget(self) -> None:
        """Forget the user."""
        lives = sorted({key.partition(":")[0] for key in self.mine})
        with self._told("forget"):
            receipt = await self._client.forget(self._scope)
        assert receipt.verified_empty
        self._line.say("did", self.user, "forget", lives, receipt.residue)
        self.mine.clear()
        self._generation += 1


async def _hoard(life: Life) -> None:
    for _ in range(_MANY):
        await life.store(life.pick.choice([1, 5, 20, 40]))


async def _revise(life: Life) -> None:
    if not life.mine:
        await life.store(12)
    for _ in range(_MANY):
        await life.update()


async def _relent(life: Life) -> None:
    for _ in range(_MANY):
        await life.store(life.pick.randint(1, 40))
        await life.update()
        if life.pick.random() < 0.3:
            await life.delete(3)
        await life.forget()


async def _mingle(life: Life) -> None:
    for _ in range(_MANY):
        if len(life.mine) < 40:
            await life.store(life.pick.choice([1, 1, 8]))
        if life.pick.random() < 0.5:
            await life.update()
        else:
            await life.delete(1)


KINDS: Final[dict[str, Callable[[Life], Coroutine[None, None, None]]]] = {
    "store_many": _hoard,
    "update": _revise,
    "forget": _relent,
    "mingle": _mingle,
}


@asynccontextmanager
async def _opened(path: str, stage: Stage, checkpoint: int) -> AsyncGenerator[MemoryClient]:
    async with open_client(path) as client:
        await traced(client, stage, checkpoint)
        yield client


async def live(line: Line, path: str, kinds: dict[str, str], seed: int, number: int) -> None:
    """Let each user do one verb above all, until somebody ends it."""
    stage = Stage(f"{path}.stage")
    checkpoint = random.Random(seed + number).choice([1, 20, 1000])
    async with _opened(path, stage, checkpoint) as client, anyio.create_task_group() as group:
        for user, kind in kinds.items():
            life = Life(line, client, user, number=number, seed=seed)
            await life.remember()
            line.say("found", user, {key: turn for key, (_, turn) in life.mine.items()})
            group.start_soon(KINDS[kind], life)


async def _every_verb(life: Life) -> None:
    await life.store(20)
    await life.update()
    await life.update()
    await life.delete(2)
    await life.forget()
    await life.store(3)


async def live_for(line: Line, path: str, statements: int) -> None:
    """Do a little of everything, and die by SIGKILL where the writer begins some statement."""
    stage = Stage(f"{path}.stage", statements=statements)
    async with _opened(path, stage, 20) as client:
        life = Life(line, client, "ada", number=1, seed=1)
        await life.remember()
        await _every_verb(life)
    line.say("end", stage.seen)


async def live_within(line: Line, path: str, position: int) -> None:
    """Do a little of everything, and die in the write that goes beyond a position of a file."""
    stage = Stage(f"{path}.stage")
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and would raise instead
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (position, most))
    async with _opened(path, stage, 1000) as client:
        life = Life(line, client, "ada", number=1, seed=1)
        await life.remember()
        await _every_verb(life)
    line.say("end", stage.seen)

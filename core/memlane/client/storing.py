"""The verbs that put memories in."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from memlane.client.parts import ClientParts, Records
from memlane.layout import check_record_id
from memlane.portable import Importer, import_lines
from memlane.receipts import ImportReceipt, Progress
from memlane.scope import Scope
from memlane.types import Content, Duplicates, MemoryRecord, MetadataValue, NewMemory, Source
from memlane.writing import UNSET, Unset

__all__ = ("Storing",)


class Storing(ClientParts):
    """The verbs of `MemoryClient` that put memories in."""

    async def store(
        self,
        content: Content,
        *,
        scope: Scope,
        namespace: str = "/",
        kind: str = "fact",
        metadata: Mapping[str, MetadataValue] | None = None,
        tags: Sequence[str] = (),
        actor: str | None = None,
        occurred_at: datetime | None = None,
        ttl: timedelta | None = None,
        expires_at: datetime | None = None,
        record_id: str | None = None,
        idempotency_key: str | None = None,
        source: Source = "app",
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
        duplicates: Duplicates = "keep",
    ) -> MemoryRecord:
        """Remember one thing; it is durable when this returns.

        Args:
            content: What to remember, up to 32 KiB with its metadata; or texts and pictures.
            scope: Whose it is.
            namespace: A path inside the scope, such as "/preferences/".
            kind: What sort of thing it is.
            metadata: Up to 32 keys of JSON, returned exactly; flat values can be filtered on.
            tags: Labels to filter by, as "@tags".
            actor: Who said it.
            occurred_at: When it happened, aware; now if left out.
            ttl: How long to keep it.
            expires_at: Until when to keep it, aware; instead of `ttl`.
            record_id: An id of your own; a ULID if left out.
            idempotency_key: The same key stores the same record once.
            source: Who vouches for it.
            valid_from: Since when it is true, aware; since it happened if left out.
            valid_to: Until when it is true, aware; still, if left out.
            duplicates: What to do when a record there says nearly the same: "keep" does not look,
                "report" names it in the call's receipt, "collapse" returns it instead when it
                serves as well.

        Raises:
            ValidationError: Something cannot be stored; nothing was.
            ConflictError: `record_id` exists already; use `update`.
        """
        new = NewMemory(
            content=content,
            namespace=namespace,
            kind=kind,
            metadata=metadata,
            tags=tags,
            actor=actor,
            occurred_at=occurred_at,
            ttl=ttl,
            expires_at=expires_at,
            record_id=record_id,
            idempotency_key=idempotency_key,
            source=source,
            valid_from=valid_from,
            valid_to=valid_to,
            duplicates=duplicates,
        )
        with self._call("store", scope):
            return (await self._store([new], scope))[0]

    async def store_many(self, items: Iterable[NewMemory], *, scope: Scope) -> Records:
        """Remember several things in order; all are checked before the first is stored.

        Raises:
            ValidationError: An item cannot be stored; none was.
            PartialWriteError: Some were stored before a failure; `stored` has them.
        """
        with self._call("store_many", scope):
            return await self._store(items, scope)

    async def update(
        self,
        record_id: str,
        *,
        scope: Scope,
        text: str | Unset = UNSET,
        metadata: Mapping[str, MetadataValue] | Unset | None = UNSET,
        tags: Sequence[str] | Unset = UNSET,
        namespace: str | Unset = UNSET,
        kind: str | Unset = UNSET,
        actor: str | Unset | None = UNSET,
        occurred_at: datetime | Unset = UNSET,
        expires_at: datetime | Unset | None = UNSET,
        source: Source | Unset = UNSET,
        valid_from: datetime | Unset | None = UNSET,
        valid_to: datetime | Unset | None = UNSET,
        expected_version: int | None = None,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> MemoryRecord:
        """Replace fields of a record and return its next version; others stay as they are.

        What was there is kept in its history. Its source is then the less trusted of the one it
        had and `source`.

        Raises:
            NotFoundError: There is no such record in this scope.
            ConflictError: It is not at `expected_version`.
        """
        changes = {
            "text": text,
            "metadata": metadata,
            "tags": tags,
            "namespace": namespace,
            "kind": kind,
            "actor": actor,
            "occurred_at": occurred_at,
            "expires_at": expires_at,
            "source": source,
            "valid_from": valid_from,
            "valid_to": valid_to,
        }
        with self._call("update", scope):
            await self._ready.ensure(scope)
            record = await self._writer.update(
                check_record_id(record_id),
                reach=self._point(scope, include_agents, only_session),
                expected_version=expected_version,
                changes=await self._redacting.changes(
                    {k: v for k, v in changes.items() if not isinstance(v, Unset)}
                ),
            )
            self._keeper.changed(record)
            return record

    async def restore(
        self,
        record_id: str,
        *,
        scope: Scope,
        version: int,
        expected_version: int | None = None,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> MemoryRecord:
        """Make what a record once said its next version, and return that.

        Args:
            record_id: The record.
            scope: Whose it is.
            version: Which of its `history`.
            expected_version: The version it must be at now.
            include_agents: The supervisor's view: records of all of the user's agents.
            only_session: Only a record of `scope.session`.

        Raises:
            NotFoundError: There is no such record, or no such version of it.
            ConflictError: It is not at `expected_version`.
        """
        with self._call("restore", scope):
            await self._ready.ensure(scope)
            record = await self._writer.restore(
                check_record_id(record_id),
                reach=self._point(scope, include_agents, only_session),
                version=version,
                expected_version=expected_version,
                allowed=self._redacting.changes,
            )
            self._keeper.changed(record)
            return record

    async def import_records(
        self,
        lines: Iterable[str | bytes] | AsyncIterable[str | bytes],
        *,
        scope: Scope,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> ImportReceipt:
        """Store what `export` wrote; repeated, it goes on where it was cut short.

        Records get new ids, their source is "import", and they become the scope's: its tenant and
        its user, and its agent and session where it names one. A page of the file is stored when
        its checksum is right, so nothing of a damaged page is.

        Args:
            lines: The file's lines.
            scope: Whose they will be.
            on_progress: Told after each page.

        Raises:
            ImportFileError: A line is damaged, out of place, too long or too deep; `imported` says
                how many records before it were stored.
        """
        with self._call("import_records", scope):
            await self._ready.ensure(scope)
            importer = Importer(
                self._backend,
                self._embeddings,
                keeper=self._keeper,
                redacting=self._redacting,
                clock=self._clock,
                batch=self._limits.batch,
                scope=scope,
            )
            return await import_lines(lines, importer, on_progress)

    async def _store(self, items: Iterable[NewMemory], scope: Scope) -> Records:
        await self._ready.ensure(scope)
        items = await self._pictures.read(items)
        wanted = await self._redacting.new_memories(self._keeper.timed(items))
        async with self._keeper.room(wanted, scope=scope):
            stored = await self._writer.store_many(wanted, scope=scope)
        await self._keeper.stored(stored, scope=scope)
        return stored

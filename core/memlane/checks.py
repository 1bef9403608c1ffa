"""What every backend refuses, in the same words, before anything is written."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TypeAlias, cast

import numpy as np

from memlane.errors import (
    BackendError,
    ConflictError,
    EmbeddingSpaceError,
    IsolationError,
    ValidationError,
)
from memlane.protocols import EmbeddingSpace, IndexedRecord, Vector
from memlane.scope import Scope
from memlane.types import MemoryRecord

__all__ = (
    "check_condition",
    "check_dimensions",
    "check_inputs",
    "check_limit",
    "check_same",
    "check_shadowed",
    "check_space",
    "check_upsert",
    "check_version",
    "closed_error",
    "former_error",
    "shadow_error",
    "spaced_error",
)


Moments: TypeAlias = tuple[datetime, datetime]
"""When a record was stored and last changed."""


def check_upsert(
    records: Sequence[IndexedRecord], *, scope: Scope, expected_version: int | None
) -> None:
    """Refuse records of anybody but `scope`, vectors that are none, and ambiguous conditions.

    Raises:
        IsolationError: A record is of another tenant, user or agent.
        EmbeddingSpaceError: A vector is empty, not flat, or not finite, or they are of two spaces.
        ConflictError: A condition is on one id twice: the second cannot hold.
    """
    owner = (scope.tenant, scope.user, scope.agent)
    for item in records:
        theirs = item.record.scope
        if (theirs.tenant, theirs.user, theirs.agent) != owner:
            raise IsolationError(
                "a record to be stored is of another tenant, user or agent",
                operation="upsert",
                scope=scope,
                remedy="store each scope's records in a call of their own",
            )
        over = item.over
        if over is not None:
            before = over.scope
            named = (before.tenant, before.user, before.agent, over.id)
            if named != (*owner, item.record.id):
                raise IsolationError(
                    "what a record is to replace is another record",
                    operation="upsert",
                    scope=scope,
                    remedy="pass the version of the same record",
                )
        _check_vectors(item, scope=scope, operation="upsert")
    if len({item.record.space for item in records if item.parts}) > 1:
        raise EmbeddingSpaceError(
            "the vectors of one call are of several embedding spaces",
            operation="upsert",
            scope=scope,
            remedy="store with one embedder",
        )
    if expected_version is not None:
        ids = [item.record.id for item in records]
        if len(set(ids)) < len(ids):
            raise ConflictError(
                "one record is to be stored twice under a condition on its version",
                operation="upsert",
                scope=scope,
                remedy="pass each record once",
            )


def _is_flat(vector: Vector) -> bool:
    """Say whether a vector is a flat array of finite numbers."""
    if vector.ndim != 1 or not len(vector):
        return False
    # A length that is finite says it in half the time; one that overflowed is looked into.
    return math.isfinite(np.vdot(vector, vector)) or bool(np.isfinite(vector).all())


def _check_vectors(item: IndexedRecord, *, scope: Scope, operation: str) -> None:
    for part in item.parts:
        if not _is_flat(part.vector):
            raise EmbeddingSpaceError(
                "a vector is not a flat array of finite numbers",
                operation=operation,
                scope=scope,
                remedy="check the embedder",
            )


def check_version(record_id: str, have: int, expected: int | None, *, scope: Scope) -> None:
    """Compare the version of a stored record, 0 when there is none, with the one expected.

    Raises:
        ConflictError: They differ.
    """
    if expected is None or have == expected:
        return
    if expected == 0:
        raise ConflictError(
            f"record {record_id!r} exists already",
            operation="upsert",
            scope=scope,
            remedy="use update to change it, or store under another id",
        )
    found = f"is at version {have}" if have else "does not exist"
    raise ConflictError(
        f"record {record_id!r} {found}; version {expected} was expected",
        operation="upsert",
        scope=scope,
        remedy="get it again and repeat the update with that version",
    )


def check_condition(
    item: IndexedRecord, there: MemoryRecord | None, expected: int | None, *, scope: Scope
) -> None:
    """Compare what is stored, if anything is, with what a write demands.

    Raises:
        ConflictError: It is at another version, or it is another record.
    """
    have = 0 if there is None else there.version
    check_version(item.record.id, have, expected, scope=scope)
    if there is not None and expected is not None:
        check_same(item, there, scope=scope)


def check_same(item: IndexedRecord, there: MemoryRecord | Moments, *, scope: Scope) -> None:
    """Compare a stored record with the one that another is to take the place of.

    Its version alone does not tell: who forgets and stores anew begins at 1 again.

    Args:
        item: What is to be stored.
        there: The stored record, or when it was stored and last changed.
        scope: Whose it is.

    Raises:
        ConflictError: It is another.
    """
    over = item.over
    if over is None:
        return
    moments = there if isinstance(there, tuple) else (there.stored_at, there.updated_at)
    if moments != (over.stored_at, over.updated_at):
        raise ConflictError(
            f"record {item.record.id!r} is another one than was read",
            operation="upsert",
            scope=scope,
            remedy="get it again and repeat the update",
        )


def check_space(space: str, known: Collection[str], *, scope: Scope) -> None:
    """Refuse a space that is not among those a tenant's records belong to.

    Raises:
        EmbeddingSpaceError: It is another.
    """
    if known and space not in known:
        raise EmbeddingSpaceError(
            f"this tenant's records belong to the embedding space {', '.join(sorted(known))}, "
            f"not {space}",
            operation="ensure_index",
            scope=scope,
            remedy="use the embedder they were stored with, or take the tenant to the new one "
            "with `admin(tenant).reembed`",
        )


def check_dimensions(space: str, have: int, known: int, *, scope: Scope) -> None:
    """Refuse a vector that is not as long as the others of its space, where there are any.

    Raises:
        EmbeddingSpaceError: It is longer or shorter.
    """
    if known and have != known:
        raise EmbeddingSpaceError(
            f"a vector has {have} dimensions; the embedding space {space} has {known}",
            operation="upsert",
            scope=scope,
            remedy="store with one embedder per space",
        )


def former_error(space: str, *, scope: Scope, operation: str) -> EmbeddingSpaceError:
    """Return what a call in a space raises whose tenant was taken to another."""
    return EmbeddingSpaceError(
        f"this tenant was taken from the embedding space {space} to another",
        operation=operation,
        scope=scope,
        remedy="open a client with the embedder that the tenant was re-embedded with",
    )


def shadow_error(space: str, found: str | None, *, scope: Scope, operation: str) -> ConflictError:
    """Return what re-embedding raises where another goes on, or it was abandoned."""
    what = f"the tenant is being re-embedded to {found}" if found else "there is no shadow"
    return ConflictError(
        f"{what}; {space} was expected",
        operation=operation,
        scope=scope,
        remedy="go on with that embedder, or abandon it first and begin again",
    )


def spaced_error(space: str, *, scope: Scope) -> EmbeddingSpaceError:
    """Return what re-embedding raises where there is nothing to do."""
    return EmbeddingSpaceError(
        f"the tenant's records are of the embedding space {space} already",
        operation="reembed",
        scope=scope,
        remedy="open a client with that embedder",
    )


def check_shadowed(
    records: Sequence[IndexedRecord], *, scope: Scope, space: EmbeddingSpace
) -> None:
    """Refuse records of another tenant, and vectors that are not of a shadow's space.

    Raises:
        IsolationError: A record is another tenant's.
        EmbeddingSpaceError: A vector is longer or shorter, or not finite.
    """
    for item in records:
        if item.record.scope.tenant != scope.tenant:
            raise IsolationError(
                "a record to be re-embedded is of another tenant",
                operation="reembed",
                scope=scope,
                remedy="take each tenant to another space in a call of its own",
            )
        _check_vectors(item, scope=scope, operation="reembed")
        for part in item.parts:
            check_dimensions(space.id, len(part.vector), space.dimensions, scope=scope)


def check_inputs(inputs: Sequence[str], *, max_batch: int, max_chars: int) -> None:
    """Refuse texts that an embedder did not say it takes.

    Raises:
        ValidationError: Too many, one too long, or something that is no text.
    """
    if len(inputs) > max_batch:
        raise ValidationError(
            f"{len(inputs)} texts in one call; at most {max_batch} are allowed",
            operation="embed",
            remedy="embed them in several calls",
        )
    for text in inputs:
        if not isinstance(cast("object", text), str):
            raise ValidationError(
                f"a text to embed must be a string, not {type(text).__name__}", operation="embed"
            )
        if len(text) > max_chars:
            raise ValidationError(
                f"a text has {len(text)} characters; at most {max_chars} are allowed",
                operation="embed",
                remedy="embed it in windows",
            )
        if text.isascii():
            continue
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise ValidationError(
                "a text to embed holds a lone surrogate",
                operation="embed",
                remedy="decode it properly first",
            ) from exc


def check_limit(limit: int) -> None:
    """Refuse a page of nothing.

    Raises:
        ValidationError: `limit` is below 1.
    """
    if limit < 1:
        raise ValidationError("limit is below 1", operation="scan", remedy="ask for at least one")


def closed_error(operation: str | None, scope: Scope | None = None) -> BackendError:
    """Return what every call on something that was closed raises."""
    return BackendError(
        "it is closed", operation=operation, scope=scope, remedy="open another client"
    )

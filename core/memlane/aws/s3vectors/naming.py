"""What an index is called, and which of its vectors are no records."""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass
from typing import Final

from memlane.aws.s3vectors.actors import is_actors_key
from memlane.aws.s3vectors.copies import is_copy_key
from memlane.aws.wire import Lane
from memlane.layout import index_name, tenant_code, user_code
from memlane.scope import Scope

__all__ = (
    "TURN_KEY",
    "WHOLE_KEY",
    "IndexTarget",
    "codes_of",
    "is_reserved",
    "is_space_key",
    "shadow_of",
    "space_key",
    "target_of",
)

_REQUESTS: Final = 1_000.0
_VECTORS: Final = 2_500.0
_SPACE: Final = "memlane/space"  # no owner's code: those have 20 characters


WHOLE_KEY: Final = f"{_SPACE}/whole"
"""The key of the vector that says of a shadow that it has all."""

TURN_KEY: Final = f"{_SPACE}/turn."
"""How the keys begin of what says that somebody is about to delete the other index of a
reembedding."""


@dataclass(frozen=True, slots=True)
class IndexTarget:
    """One index of one bucket.

    Args:
        bucket: The vector bucket's name.
        index: The index's name.
    """

    bucket: str
    index: str

    @property
    def lane(self) -> Lane:
        """The pace of what changes the index: what the service allows, per second."""
        return _lane(self.bucket, self.index)

    @property
    def reading(self) -> Lane:
        """The pace of what reads it: nobody knows a number, so only what is refused slows it."""
        return _reading(self.bucket, self.index)


@functools.lru_cache(maxsize=4096)
def _lane(bucket: str, index: str) -> Lane:
    return Lane(f"{bucket}/{index}", requests=_REQUESTS, weight=_VECTORS)


@functools.lru_cache(maxsize=4096)
def _reading(bucket: str, index: str) -> Lane:
    return Lane(f"{bucket}/{index} reading")


def target_of(bucket: str, scope: Scope, *, per_user: bool) -> IndexTarget:
    """Return the index of a scope's tenant, or of its user alone."""
    return _target(bucket, scope.tenant, scope.user if per_user else None)


# The same few are asked again and again, and looking a code up takes less than making it.
@functools.lru_cache(maxsize=4096)
def _target(bucket: str, tenant: str | None, user: str | None) -> IndexTarget:
    code = tenant_code(tenant) if user is None else user_code(tenant, user)
    return IndexTarget(bucket, index_name(code))


def shadow_of(index: str) -> str:
    """Return the index in which the vectors of another space gather, before they take its place."""
    digest = hashlib.sha256(index.encode()).digest()
    return f"reembed-{base64.b32encode(digest).decode().lower()[:26]}"


def codes_of(scope: Scope, *, per_user: bool) -> dict[str, str]:
    """Return the tags of a scope's index: those that its tenant's credentials carry."""
    tags = {"TenantID": tenant_code(scope.tenant)}
    return tags | {"UserID": user_code(scope.tenant, scope.user)} if per_user else tags


def space_key(scope: Scope, *, shared: bool) -> str:
    """Return the key of the vector that says which embedding space an index is of.

    In an index that tenants share, each has a space of its own.
    """
    return f"{_SPACE}/{tenant_code(scope.tenant)}" if shared else _SPACE


def is_reserved(key: str) -> bool:
    """Say whether a vector is memlane's own note, or a version that is kept, and no record."""
    return is_space_key(key) or is_actors_key(key) or is_copy_key(key)


def is_space_key(key: str) -> bool:
    """Say whether a vector is a note of an embedding space, or about a whole index."""
    if not key.startswith(_SPACE):
        return False
    # Not all that begins so: another tool may call its vectors as it likes.
    slash, code = key[len(_SPACE) : len(_SPACE) + 1], key[len(_SPACE) + 1 :]
    return not slash or (slash == "/" and code != "" and "/" not in code)

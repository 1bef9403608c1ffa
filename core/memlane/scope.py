"""Whose memory it is: the one argument no call works without.

The rules of reach are one table (docs/concepts) and one class: `Reach` says which records a call
may see, every backend narrows by it, and the client checks each returned record against it again.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Literal

from memlane.errors import ScopeError

__all__ = ("MAX_ID_BYTES", "Reach", "Scope", "Tenancy", "check_id", "check_tenancy")

Tenancy = Literal["required", "none", "optional", "per-user"]
"""What a client demands of a scope: `required` and `per-user` a tenant, `none` its absence."""

MAX_ID_BYTES = 512
"""Longest tenant, user, agent, session or actor in UTF-8 bytes. Ours: longer ids are payloads."""

_FIRST_PRINTABLE = 32
_DELETE = 127


def check_id(value: object, *, name: str) -> str:
    """Return `value` when it can name somebody on every backend.

    Raises:
        ScopeError: Not a string, blank, over `MAX_ID_BYTES`, or holding a control character or a
            lone surrogate.
    """
    if not isinstance(value, str):
        raise ScopeError(
            f"{name} must be a string, not {type(value).__name__}",
            remedy=f"pass the {name}'s id as text",
        )
    # Nearly every id is plain; told from the rest without looking at each character.
    if (
        len(value) <= MAX_ID_BYTES
        and value.isascii()
        and value.isprintable()
        and value
        and not value.isspace()
    ):
        return value
    if not value.strip():
        raise ScopeError(f"{name} is empty", remedy=f"pass the {name}'s id, or leave it out")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise ScopeError(
            f"{name} holds a lone surrogate", remedy="decode the id properly before passing it"
        ) from exc
    if size > MAX_ID_BYTES:
        raise ScopeError(
            f"{name} has {size} bytes; at most {MAX_ID_BYTES} are allowed",
            remedy="pass an id, or a hash of it",
        )
    if any(ord(char) < _FIRST_PRINTABLE or ord(char) == _DELETE for char in value):
        raise ScopeError(f"{name} holds a control character", remedy="pass a printable id")
    return value


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memory a call is about.

    Args:
        user: The person (or other owner) the memories belong to.
        tenant: The customer that person belongs to. Two tenants never see each other.
        agent: The agent the memories are kept for; None is a lane of its own, not a wildcard.
        session: Where a record came from; ignored on recall unless asked for.

    Raises:
        ScopeError: An id is not a usable string.
    """

    user: str
    _: KW_ONLY
    tenant: str | None = None
    agent: str | None = None
    session: str | None = None

    def __post_init__(self) -> None:
        check_id(self.user, name="user")
        for name in ("tenant", "agent", "session"):
            value: object = getattr(self, name)
            if value is not None:
                check_id(value, name=name)


def check_tenancy(scope: object, tenancy: Tenancy, *, operation: str) -> Scope:
    """Return `scope` when this client's tenancy allows it, before anything is paid for.

    Raises:
        ScopeError: Not a scope, a tenant is missing, or one is given where none may be.
    """
    if not isinstance(scope, Scope):
        raise ScopeError(
            f"scope must be a Scope, not {type(scope).__name__}",
            operation=operation,
            remedy='pass scope=Scope("user-id", tenant="tenant-id")',
        )
    if tenancy in {"required", "per-user"} and scope.tenant is None:
        raise ScopeError(
            f"this client's tenancy is {tenancy!r} and the scope names no tenant",
            operation=operation,
            scope=scope,
            remedy="pass Scope(user, tenant=...)",
        )
    if tenancy == "none" and scope.tenant is not None:
        raise ScopeError(
            "this client's tenancy is 'none' and the scope names a tenant",
            operation=operation,
            scope=scope,
            remedy="leave the tenant out, or make the client with tenancy='optional'",
        )
    return scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which records of a scope one call may see, and as of when.

    Made by `Reach.point` or `Reach.whole`, not by hand. A record outside the reach does not exist
    for the call: backends must not return it, and the client refuses it if they do.

    Args:
        scope: Whose memory the call is about.
        any_agent: All agents of the user, instead of exactly `scope.agent`.
        any_session: All sessions, instead of exactly `scope.session`.
        now: Records that expired at or before this moment are gone; None keeps them, for forget.
    """

    scope: Scope
    any_agent: bool
    any_session: bool
    now: datetime | None

    @classmethod
    def point(
        cls,
        scope: Scope,
        *,
        now: datetime,
        include_agents: bool = False,
        only_session: bool = False,
    ) -> Reach:
        """Return the reach of get, update, delete, history, retrieve and context.

        Raises:
            ScopeError: `only_session` without a session in the scope.
        """
        if only_session and scope.session is None:
            raise ScopeError(
                "only_session needs a scope with a session",
                scope=scope,
                remedy="pass Scope(user, session=...), or leave only_session out",
            )
        return cls(scope=scope, any_agent=include_agents, any_session=not only_session, now=now)

    @classmethod
    def whole(cls, scope: Scope, *, now: datetime | None) -> Reach:
        """Return the reach of list, iterate, count, export and forget: all the scope contains."""
        return cls(
            scope=scope,
            any_agent=scope.agent is None,
            any_session=scope.session is None,
            now=now,
        )

    def covers(self, other: Scope, *, expires_at: datetime | None = None) -> bool:
        """Say whether a record of scope `other`, expiring at `expires_at`, is within reach."""
        mine = self.scope
        return (
            mine.tenant == other.tenant
            and mine.user == other.user
            and (self.any_agent or mine.agent == other.agent)
            and (self.any_session or mine.session == other.session)
            and not (self.now is not None and expires_at is not None and expires_at <= self.now)
        )

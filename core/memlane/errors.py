"""What can go wrong, by what the caller can do about it.

Every error is a `MemlaneError` and, where Python has a matching builtin, that builtin too. The
text names operation, tenant, a keyed hash of the user and a remedy; it never holds a credential,
a memory's text or the user's id. The scope itself is the attribute `scope`.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memlane.scope import Scope
    from memlane.types import MemoryRecord

__all__ = (
    "AccessDeniedError",
    "BackendError",
    "ConflictError",
    "CredentialsError",
    "DeadlineExceededError",
    "EmbeddingSpaceError",
    "ImportFileError",
    "InvalidCursorError",
    "InvalidFilterError",
    "IsolationError",
    "LoopError",
    "MemlaneError",
    "MissingExtraError",
    "NotFoundError",
    "PartialWriteError",
    "QuotaExceededError",
    "RedactedError",
    "RequestRejectedError",
    "ScannerError",
    "ScopeError",
    "ServiceError",
    "StoreFileError",
    "StoreLockedError",
    "StoreNotFoundError",
    "TenantNotOnboardedError",
    "ThrottledError",
    "UnavailableError",
    "ValidationError",
    "hashed_user",
)

# One key per process: the hash lets two log lines be matched, and tells nobody else who it was.
_HASH_KEY = os.urandom(16)


def hashed_user(user: str) -> str:
    """Return a short keyed hash of a user id, equal within this process only."""
    raw = user.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, key=_HASH_KEY, digest_size=4).hexdigest()


class MemlaneError(Exception):
    """Anything memlane raises on purpose.

    Args:
        reason: What failed, as one sentence without a full stop.
        operation: The verb that was asked for, such as `store`.
        scope: Whose memory it was about; kept as an attribute, hashed in the text.
        remedy: What to do about it, as one sentence without a full stop.
    """

    is_hurried: bool = False
    """It is about the little time that its caller had, and tells others nothing."""

    def __init__(
        self,
        reason: str,
        *,
        operation: str | None = None,
        scope: Scope | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.operation = operation
        self.scope = scope
        self.remedy = remedy

    def anew(self) -> Self:
        """Return the same error for another caller, about nobody's memory yet.

        One that several callers wait for must not tell any of them of another's scope.
        """
        return type(self)(self.reason, remedy=self.remedy)

    def __str__(self) -> str:
        where = [self.operation] if self.operation else []
        if self.scope is not None:
            where.append(f"tenant={self.scope.tenant or '-'} user#{hashed_user(self.scope.user)}")
        text = f"{' '.join(where)}: {self.reason}" if where else self.reason
        return f"{text}; {self.remedy}" if self.remedy else text


class ValidationError(MemlaneError, ValueError):
    """An argument cannot be accepted; nothing was sent and nothing was paid for."""


class ScopeError(ValidationError):
    """The scope is malformed, or the client's tenancy does not allow it."""


class InvalidFilterError(ValidationError):
    """A filter says something that S3 Vectors, and so every backend, refuses."""


class InvalidCursorError(ValidationError):
    """A cursor was edited, is of another version, or belongs to another scope or query."""


class EmbeddingSpaceError(ValidationError):
    """A vector does not belong to the space asked for: dimension, model, or not a finite number."""


class RedactedError(ValidationError):
    """A redactor found what may not be kept at all; nothing was embedded, stored or sent."""


class ImportFileError(ValidationError):
    """A line of an import is damaged, out of place, too long or too deep.

    Args:
        reason: What is wrong, naming the line.
        line: Its number, from 1.
        imported: Records stored before it; a repeated import goes on behind them.
        operation: The verb that was asked for.
        scope: Whose memory it was about.
        remedy: What to do about it.
    """

    def __init__(
        self,
        reason: str,
        *,
        line: int,
        imported: int = 0,
        operation: str | None = None,
        scope: Scope | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(reason, operation=operation, scope=scope, remedy=remedy)
        self.line = line
        self.imported = imported

    def anew(self) -> Self:
        """Return the same error for another caller, about nobody's memory yet."""
        return type(self)(self.reason, line=self.line, imported=self.imported, remedy=self.remedy)


class ScannerError(MemlaneError):
    """The trust policy's scanner could not say what may be recalled; nothing is."""


class NotFoundError(MemlaneError, LookupError):
    """No such record in this scope. A record of another scope says exactly the same."""


class ConflictError(MemlaneError):
    """The record exists already, or is at another version than the one expected."""


class IsolationError(MemlaneError, PermissionError):
    """A backend or provider answered with something of another scope. Nothing is returned."""


class DeadlineExceededError(MemlaneError, TimeoutError):
    """The call did not finish within its deadline."""


class BackendError(MemlaneError):
    """The backend failed in a way that retrying the same call may or may not cure."""


class StoreFileError(BackendError, OSError):
    """A store file is missing its folder, corrupt, newer than this program, or read-only."""


class StoreLockedError(BackendError, TimeoutError):
    """Another process kept the store file locked for longer than the busy timeout."""


class ServiceError(BackendError):
    """A cloud service refused a request, or could not be asked.

    Args:
        reason: What failed.
        service: Which one, such as `s3vectors`.
        wire_operation: What was asked of it, such as `QueryVectors`; the verb is `operation`.
        code: Its own name for the failure; None when no answer came.
        status: The HTTP status; None when no answer came.
        request_id: What the service's support asks for.
        detail: The service's own words, without credentials; they may name a role and a resource.
        operation: The verb that was asked for.
        scope: Whose memory it was about.
        remedy: What to do about it.
    """

    def __init__(
        self,
        reason: str,
        *,
        service: str | None = None,
        wire_operation: str | None = None,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        detail: str | None = None,
        operation: str | None = None,
        scope: Scope | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(reason, operation=operation, scope=scope, remedy=remedy)
        self.service = service
        self.wire_operation = wire_operation
        self.code = code
        self.status = status
        self.request_id = request_id
        self.detail = detail

    def anew(self) -> Self:
        """Return the same error for another caller, about nobody's memory yet."""
        return type(self)(
            self.reason,
            service=self.service,
            wire_operation=self.wire_operation,
            code=self.code,
            status=self.status,
            request_id=self.request_id,
            detail=self.detail,
            remedy=self.remedy,
        )


class ThrottledError(ServiceError):
    """The service had no capacity for longer than the call could wait."""


class UnavailableError(ServiceError, ConnectionError):
    """The service could not be reached, or answered with failures only."""


class AccessDeniedError(ServiceError, PermissionError):
    """The credentials do not allow it. Whether the thing exists is not said."""


class RequestRejectedError(ServiceError, ValueError):
    """The service found the request invalid; nothing was done."""


class QuotaExceededError(ServiceError):
    """A quota of the account or of the store is used up."""


class StoreNotFoundError(ServiceError, LookupError):
    """The bucket, or the model, that the client was made for does not exist."""


class TenantNotOnboardedError(ServiceError, LookupError):
    """The tenant has no index yet. `memlane onboard TENANT` makes it."""


class CredentialsError(ServiceError):
    """No valid credentials could be had: nobody to ask, an expired token, or a failing service."""


class LoopError(MemlaneError, RuntimeError):
    """A synchronous call was made where it would block the very loop that must answer it."""


class MissingExtraError(MemlaneError, ImportError):
    """An optional dependency is not installed; the text has the install command."""


class PartialWriteError(MemlaneError):
    """Some of several records were stored before the failure; `stored` says which.

    Args:
        reason: What failed.
        stored: Exactly the records that are durable, in the order they were given; where writes
            go out in parallel, as to S3 Vectors, those between them may be missing.
        operation: The verb that was asked for.
        scope: Whose memory it was about.
        remedy: What to do about it.
    """

    def __init__(
        self,
        reason: str,
        *,
        stored: Sequence[MemoryRecord],
        operation: str | None = None,
        scope: Scope | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(reason, operation=operation, scope=scope, remedy=remedy)
        self.stored = tuple(stored)

    def anew(self) -> Self:
        """Return the same error for another caller, about nobody's memory yet."""
        return type(self)(self.reason, stored=self.stored, remedy=self.remedy)

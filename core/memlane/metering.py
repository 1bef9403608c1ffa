"""What a call takes, counted where it is spent and told when the call ends."""

from __future__ import annotations

from contextvars import ContextVar, Token
from time import perf_counter
from types import MappingProxyType

from memlane.receipts import CallReceipt

__all__ = ("Meter", "count_answer", "count_request", "current", "last_receipt")


class Meter:
    """What a running call has taken so far.

    Whoever spends something adds to it: `if (meter := current()) is not None: meter.tokens += 5`.
    It goes wherever the call goes, also to the loops that memlane owns; the parts of one call that
    run at once run on one loop.

    Args:
        operation: The verb.
        tenant: Whose.
    """

    __slots__ = (
        "_began",
        "_ended",
        "_token",
        "bytes_received",
        "bytes_sent",
        "cache_hits",
        "embedded",
        "failed",
        "near_duplicates",
        "operation",
        "operations",
        "redacted",
        "retries",
        "tenant",
        "tokens",
    )  # fmt: skip

    def __init__(self, operation: str, tenant: str | None) -> None:
        self.operation = operation
        self.tenant = tenant
        self.operations: dict[str, int] = {}
        self.retries = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.embedded = 0
        self.tokens = 0
        self.cache_hits = 0
        self.near_duplicates: list[str] = []
        self.redacted: dict[str, int] = {}
        self.failed: str | None = None
        self._began = perf_counter()
        self._ended: float | None = None
        self._token: Token[Meter | None] | None = None

    def start(self) -> None:
        """Let `current` return this until `stop`, in this task and what it calls."""
        self._token = _running.set(self)

    def stop(self, error: BaseException | None) -> None:
        """Count no more; `last_receipt` tells of this from now on."""
        self._ended = perf_counter()
        if error is not None:
            self.failed = type(error).__name__
        token, self._token = self._token, None
        if token is not None:
            try:  # noqa: SIM105 - each call comes this way
                _running.reset(token)
            except ValueError:
                pass  # thrown away with its loop, a call ends in a context that is not its own
        _last.set(self)

    @property
    def has_ended(self) -> bool:
        """Whether its call has come to its end."""
        return self._ended is not None

    @property
    def seconds(self) -> float:
        """From the beginning to the end, or until now."""
        return (perf_counter() if self._ended is None else self._ended) - self._began

    def request(self, operation: str, *, sent: int, again: bool) -> None:
        """Count an attempt of a request."""
        self.operations[operation] = self.operations.get(operation, 0) + 1
        self.bytes_sent += sent
        self.retries += again

    def near_duplicate(self, record_id: str) -> None:
        """Count a record that says nearly what a new one says."""
        self.near_duplicates.append(record_id)

    def redaction(self, kind: str) -> None:
        """Count something that a redactor found."""
        self.redacted[kind] = self.redacted.get(kind, 0) + 1

    def receipt(self) -> CallReceipt:
        """Return what was counted."""
        return CallReceipt(
            operation=self.operation,
            tenant=self.tenant,
            seconds=self.seconds,
            requests=sum(self.operations.values()),
            retries=self.retries,
            operations=MappingProxyType(dict(self.operations)),
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            embedded=self.embedded,
            tokens=self.tokens,
            cache_hits=self.cache_hits,
            near_duplicates=tuple(self.near_duplicates),
            redacted=MappingProxyType(dict(self.redacted)),
            failed=self.failed,
        )


_running: ContextVar[Meter | None] = ContextVar("memlane_meter", default=None)
_last: ContextVar[Meter | None] = ContextVar("memlane_last_meter", default=None)


def current() -> Meter | None:
    """Return the meter of the running call; None outside of one."""
    meter = _running.get()
    # A task that a call has begun may outlive it, and what it does then is no part of that.
    return None if meter is None or meter.has_ended else meter


def last_receipt() -> CallReceipt | None:
    """Return what the last call of this task, or of this thread, took; None before the first."""
    meter = _last.get()
    return None if meter is None else meter.receipt()


def count_request(operation: str, *, sent: int, again: bool) -> None:
    """Count an attempt of a request for the running call, where there is one."""
    meter = current()
    if meter is not None:
        meter.request(operation, sent=sent, again=again)


def count_answer(received: int) -> None:
    """Count the bytes of an answer for the running call, where there is one."""
    meter = current()
    if meter is not None:
        meter.bytes_received += received

"""Spans and metrics of OpenTelemetry, where the program uses it; content is never an attribute.

Names follow the GenAI conventions for memory operations and the database conventions for clients.
Nothing is imported: a program that uses OpenTelemetry has imported it, and where no provider is
set there is nobody to tell.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from memlane.errors import hashed_user
from memlane.metering import Meter
from memlane.receipts import CallReceipt
from memlane.scope import Scope

__all__ = ("Observer", "Span")

_log = logging.getLogger("memlane")

_GEN_AI: Final[Mapping[str, str]] = MappingProxyType(
    {
        "retrieve": "search_memory",
        "context": "search_memory",
        "store": "create_memory",
        "store_many": "create_memory",
        "import_records": "create_memory",
        "update": "update_memory",
        "restore": "update_memory",
        "delete": "delete_memory",
        "forget": "delete_memory",
    }
)
"""Verbs that the GenAI conventions have a name for; others go by their own."""

_SYSTEMS: Final[Mapping[str, str]] = MappingProxyType({"s3vectors": "aws.s3vectors"})
_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
_TOKENS: Final = tuple(float(4**power) for power in range(14))


class _Instruments:
    """What one meter provider counts with."""

    def __init__(self, provider: Any) -> None:
        meter = provider.get_meter("memlane")
        self.provider = provider
        self.duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of a memory operation",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens that the embedding model counted",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self.requests = meter.create_counter(
            "memlane.client.requests", unit="{request}", description="Requests to services"
        )
        self.retries = meter.create_counter(
            "memlane.client.retries", unit="{request}", description="Requests that repeated another"
        )


class Span:
    """A span under way, current until it ends.

    Args:
        span: OpenTelemetry's own.
        trace: The module it is of.
    """

    __slots__ = ("_entered", "_span", "_trace")

    def __init__(self, span: Any, trace: Any) -> None:
        self._span = span
        self._trace = trace
        self._entered = trace.use_span(span, record_exception=False, set_status_on_exception=False)
        self._entered.__enter__()

    def end(self, meter: Meter, error: BaseException | None) -> None:
        """End it with what the call took. The text of an error stays out of it."""
        span = self._span
        self._entered.__exit__(None, None, None)  # whatever fails, it is current no more
        span.set_attributes(_spent(meter))
        if error is not None:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))
        span.end()


class Observer:
    """Tells of a client's calls: to OpenTelemetry, and to whoever asked for receipts.

    Args:
        backend: The backend's name.
        model: The embedding space's id.
        on_receipt: Told what each call took; what it raises is logged and goes no further.
    """

    def __init__(
        self, *, backend: str, model: str, on_receipt: Callable[[CallReceipt], object] | None
    ) -> None:
        self._system = _SYSTEMS.get(backend, backend)
        self._model = model
        self._on_receipt = on_receipt
        self._instruments: _Instruments | None = None

    def begin(self, operation: str, scope: Scope) -> Span | None:
        """Begin a span that is current until it ends; None where nobody records any."""
        trace = sys.modules.get("opentelemetry.trace")
        if trace is None:
            return None
        try:
            return self._begin(trace, operation, scope)
        except Exception as failure:  # noqa: BLE001 - a listener must not fail what it hears of
            _told_badly("a span", failure)
            return None

    def _begin(self, trace: Any, operation: str, scope: Scope) -> Span | None:
        provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            return None
        name = _GEN_AI.get(operation, operation)
        span = provider.get_tracer("memlane").start_span(
            name,
            kind=trace.SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": name,
                "gen_ai.request.model": self._model,
                "db.system.name": self._system,
                "db.operation.name": operation,
                "memlane.tenant": scope.tenant or "",
                "memlane.user_hash": hashed_user(scope.user),
            },
        )
        return Span(span, trace)

    def end(self, span: Span | None, meter: Meter, error: BaseException | None) -> None:
        """End a call's span, count it, and hand out its receipt."""
        if span is not None:
            try:
                span.end(meter, error)
            except Exception as failure:  # noqa: BLE001 - a listener must not fail what it hears of
                _told_badly("a span", failure)
        try:
            self._count(meter)
        except Exception as failure:  # noqa: BLE001 - nor this one
            _told_badly("a measurement", failure)
        if self._on_receipt is not None:
            try:
                self._on_receipt(meter.receipt())
            except Exception as failure:  # noqa: BLE001 - nor the caller's own
                _told_badly("on_receipt", failure)

    def _count(self, meter: Meter) -> None:
        metrics = sys.modules.get("opentelemetry.metrics")
        if metrics is None:
            return
        provider = metrics.get_meter_provider()
        if type(provider).__name__ in {"_ProxyMeterProvider", "NoOpMeterProvider"}:
            return
        if self._instruments is None or self._instruments.provider is not provider:
            self._instruments = _Instruments(provider)
        instruments = self._instruments
        told = {"db.system.name": self._system, "db.operation.name": meter.operation}
        failed = {} if meter.failed is None else {"error.type": meter.failed}
        instruments.duration.record(meter.seconds, told | failed)
        if meter.tokens:
            instruments.tokens.record(
                meter.tokens,
                {
                    "gen_ai.operation.name": "embeddings",
                    "gen_ai.request.model": self._model,
                    "gen_ai.token.type": "input",
                },
            )
        for operation, count in meter.operations.items():
            instruments.requests.add(count, {"memlane.request.operation": operation})
        if meter.retries:
            instruments.retries.add(meter.retries, told)


def _told_badly(what: str, failure: Exception) -> None:
    _log.warning("%s failed with %s", what, type(failure).__name__)


def _spent(meter: Meter) -> dict[str, int]:
    found = {
        "gen_ai.usage.input_tokens": meter.tokens,
        "memlane.requests": sum(meter.operations.values()),
        "memlane.retries": meter.retries,
        "memlane.bytes_sent": meter.bytes_sent,
        "memlane.bytes_received": meter.bytes_received,
        "memlane.embedded": meter.embedded,
        "memlane.cache_hits": meter.cache_hits,
    }
    return {name: value for name, value in found.items() if value}

"""What OpenTelemetry is told: real providers, in-memory exporters, and not a word of content."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from memlane import MemoryClient, NotFoundError, Scope
from memlane.local import InMemoryBackend
from memlane.testing import HashingEmbedder

ADA = Scope("ada-lovelace", tenant="acme")
SECRET = "window seats and canaries"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # The global provider is set once for a process; here it is one for each test.
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    found = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[found])
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    yield found
    provider.shutdown()


def a_client() -> MemoryClient:
    return MemoryClient(backend=InMemoryBackend(), embedder=HashingEmbedder())


async def test_each_call_is_a_span(spans: InMemorySpanExporter) -> None:
    """By the conventions' names; verbs that call others are one span, inside the caller's own."""
    client = a_client()
    with trace.get_tracer_provider().get_tracer("app").start_as_current_span("turn") as turn:
        await client.store(SECRET, scope=ADA)
        await client.context("seats?", scope=ADA, max_tokens=100)
        with pytest.raises(NotFoundError):
            await client.get("nothing", scope=ADA)
    names = [span.name for span in spans.get_finished_spans()]
    assert names == ["create_memory", "search_memory", "get", "turn"]
    stored, recalled, missed, _ = spans.get_finished_spans()
    told = dict(stored.attributes or {})
    assert told["gen_ai.operation.name"] == "create_memory"
    assert told["db.system.name"] == "memory"
    assert told["db.operation.name"] == "store"
    assert told["memlane.tenant"] == "acme"
    assert told["memlane.embedded"] == 1
    parents = [span.parent.span_id for span in (stored, recalled, missed) if span.parent]
    assert parents == [turn.get_span_context().span_id] * 3
    assert dict(missed.attributes or {})["error.type"] == "NotFoundError"
    assert missed.status.status_code is trace.StatusCode.ERROR


async def test_no_span_tells_of_content_or_user(spans: InMemorySpanExporter) -> None:
    """Neither a text nor a query nor the user's id; the user is a hash."""
    client = a_client()
    await client.store(SECRET, scope=ADA, metadata={"k": "canary"}, tags=["canary"])
    await client.retrieve("canary query", scope=ADA)
    await client.forget(ADA)
    said = "".join(span.to_json() for span in spans.get_finished_spans())
    for word in ("canar", "window", "ada-lovelace"):
        assert word not in said
    assert "memlane.user_hash" in said


async def test_calls_are_measured(reader: InMemoryMetricReader) -> None:
    """A histogram of durations by verb, and failures by their class."""
    client = a_client()
    await client.store(SECRET, scope=ADA)
    await client.store(SECRET, scope=ADA)
    with pytest.raises(NotFoundError):
        await client.get("nothing", scope=ADA)
    points = _points(reader, "db.client.operation.duration")
    assert {
        (point.attributes["db.operation.name"], point.attributes.get("error.type")): point.count
        for point in points
    } == {("store", None): 2, ("get", "NotFoundError"): 1}


def _points(reader: InMemoryMetricReader, name: str) -> list[Any]:
    data = reader.get_metrics_data()
    assert data is not None
    return [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


def test_nothing_is_imported_for_those_who_do_not_use_it() -> None:
    """A program without OpenTelemetry stays without it."""
    program = """
import asyncio, sys
from memlane import MemoryClient, Scope
from memlane.local import InMemoryBackend
from memlane.testing import HashingEmbedder
client = MemoryClient(backend=InMemoryBackend(), embedder=HashingEmbedder())
asyncio.run(client.store("tea", scope=Scope("ada")))
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("where", ["on_start", "on_end"])
async def test_a_processor_that_fails_fails_no_call(
    monkeypatch: pytest.MonkeyPatch, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was stored is not said to have failed; nothing of it stays current."""

    class Failing(SpanProcessor):
        pass

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the exporter is gone")

    setattr(Failing, where, fail)
    provider = TracerProvider()
    provider.add_span_processor(Failing())
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    client = MemoryClient(backend=InMemoryBackend(), embedder=HashingEmbedder())
    await client.store(SECRET, scope=ADA)
    assert "a span failed with RuntimeError" in caplog.text
    assert not trace.get_current_span().get_span_context().is_valid
    monkeypatch.undo()
    assert await client.count(scope=ADA) == 1

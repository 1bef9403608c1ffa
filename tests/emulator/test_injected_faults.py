"""Faults on demand: what goes wrong, when, how often, and whether it had its effect."""

from __future__ import annotations

from http.client import HTTPException, IncompleteRead
from typing import Any

import pytest

from emulator.signed import BUCKET, INDEX, Signed, prepared
from memlane.errors import ValidationError
from memlane.testing.emulator import Emulator
from memlane.testing.emulator.faults import FaultPlan, FaultRule


@pytest.fixture
def index(emulator: Emulator) -> Signed:
    client = prepared(emulator)
    emulator.blocking.counters(reset=True)
    return client


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (408, "RequestTimeoutException"),
        (429, "TooManyRequestsException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
        (402, "ServiceQuotaExceededException"),
    ],
)
def test_errors(index: Signed, emulator: Emulator, status: int, code: str) -> None:
    emulator.blocking.inject(operation="PutVectors", status=status)
    assert index.put("K").error[:2] == (status, code)
    assert index.query().status == 200
    emulator.blocking.clear_faults()
    assert index.put("K").status == 200


def test_an_error_of_ones_own(index: Signed, emulator: Emulator) -> None:
    emulator.blocking.inject(status=403, code="ExpiredTokenException", message="Expired", times=1)
    assert index.query().error == (403, "ExpiredTokenException", "Expired")
    assert index.query().status == 200


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("kind", ["reset", "error"])
def test_before_or_after_the_effect(
    index: Signed, emulator: Emulator, kind: str, moment: str
) -> None:
    emulator.blocking.inject(operation="PutVectors", kind=kind, moment=moment, times=1)
    if kind == "reset":
        with pytest.raises(ConnectionError):
            index.put("K")
    else:
        assert index.put("K").status == 503
    assert list(emulator.blocking.vectors(BUCKET, INDEX)) == (["K"] if moment == "after" else [])
    status = 0 if kind == "reset" else 503
    assert emulator.blocking.counters().statuses == {"PutVectors": {status: 1}}


def test_a_truncated_answer(index: Signed, emulator: Emulator) -> None:
    index.put("K", metadata={"a": "x" * 1000})
    emulator.blocking.inject(operation="QueryVectors", kind="truncate", times=1)
    with pytest.raises((IncompleteRead, HTTPException)) as caught:
        index.query(returnMetadata=True)
    assert isinstance(caught.value, IncompleteRead)
    assert 0 < len(caught.value.partial) < 1000
    assert index.found() == ["K"]


def test_a_slow_answer_comes_in_drops(index: Signed, emulator: Emulator) -> None:
    index.put("K", metadata={"a": "x" * 1000})
    emulator.blocking.inject(operation="QueryVectors", kind="slow", seconds=10.0, times=1)
    members = {"topK": 1, "queryVector": {"float32": [1, 2, 3, 4]}, "returnMetadata": True}
    with index.opened("QueryVectors", members) as answer:
        assert len(answer.read1()) < int(answer.headers["Content-Length"]) / 2
        assert "QueryVectors" not in emulator.blocking.counters().statuses
    emulator.blocking.inject(operation="QueryVectors", kind="slow", seconds=0.02, times=1)
    assert index.found() == ["K"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_lateness(index: Signed, emulator: Emulator, moment: str) -> None:
    """A client that does not wait cannot know whether its request had its effect."""
    emulator.blocking.inject(operation="PutVectors", latency=20.0, moment=moment, times=1)
    vector = {"key": "K", "data": {"float32": [1, 2, 3, 4]}}
    with pytest.raises(TimeoutError), index.opened("PutVectors", {"vectors": [vector]}, timeout=1):
        pass
    assert list(emulator.blocking.vectors(BUCKET, INDEX)) == (["K"] if moment == "after" else [])
    assert emulator.blocking.counters().requests == {"PutVectors": 1}
    assert emulator.blocking.counters().statuses == {}


def test_what_comes_late_does_not_reach_the_next_test(index: Signed, emulator: Emulator) -> None:
    emulator.blocking.inject(operation="PutVectors", latency=1.0)
    vector = {"key": "K", "data": {"float32": [1, 2, 3, 4]}}
    members = {"vectors": [vector]}
    with pytest.raises(TimeoutError), index.opened("PutVectors", members, timeout=0.3):
        pass
    emulator.blocking.reset()
    again = prepared(emulator)
    emulator.blocking.inject(operation="GetVectors", latency=1.5)  # until the put is through
    assert again.call("GetVectors", keys=["K"]).json == {"vectors": []}
    assert emulator.blocking.counters().requests == {"GetVectors": 1}


def outcomes(plan: FaultPlan, count: int = 1_000) -> list[bool]:
    return [bool(plan.due("QueryVectors")) for _ in range(count)]


def test_rates_are_drawn_from_a_seed() -> None:
    plan = FaultPlan()
    plan.add(FaultRule(operation="QueryVectors", kind="error", rate=0.3))
    first = outcomes(plan)
    assert 250 < sum(first) < 350
    plan.clear()
    plan.add(FaultRule(operation="QueryVectors", kind="error", rate=0.3))
    assert outcomes(plan) == first


def test_some_first_then_a_few() -> None:
    plan = FaultPlan()
    plan.add(FaultRule(kind="reset", skip=2, times=2))
    assert outcomes(plan, 6) == [False, False, True, True, False, False]


def test_one_fault_a_request_and_any_lateness() -> None:
    """A rule that is not met is not used up."""
    plan = FaultPlan()
    rules = [
        FaultRule(latency=1.0),
        FaultRule(kind="error", times=1),
        FaultRule(operation="QueryVectors", kind="reset", times=1),
        FaultRule(operation="PutVectors", kind="slow"),
    ]
    for rule in rules:
        plan.add(rule)
    assert plan.due("QueryVectors") == (rules[0], rules[1])
    assert plan.due("QueryVectors") == (rules[0], rules[2])
    assert plan.due("PutVectors") == (rules[0], rules[3])


@pytest.mark.parametrize("rule", [{"kind": "explode"}, {"operations": "QueryVectors"}])
def test_rules_that_mean_nothing(emulator: Emulator, rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="inject"):
        emulator.blocking.inject(**rule)


def test_each_service_has_its_codes() -> None:
    rule = FaultRule(kind="error", status=429)
    codes = [rule.error(service).code for service in ("s3vectors", "bedrock", "sts")]
    assert codes == ["TooManyRequestsException", "ThrottlingException", "Throttling"]
    assert FaultRule(kind="error", status=408).error("bedrock").code == "ModelTimeoutException"


def test_a_clock_that_is_off(index: Signed, emulator: Emulator) -> None:
    """The server's date is what a client can correct itself by."""
    emulator.blocking.switch(clock_skew=3_600)
    refused = index.query()
    assert refused.status == 403
    assert "expired" in refused.json["message"].lower()
    emulator.blocking.switch(clock_skew=0)
    before = index.query().headers["date"]
    emulator.blocking.switch(clock_skew=3_600)
    assert index.query().headers["date"] != before
    emulator.blocking.switch(signature_seconds=0)
    assert index.query().status == 200


def test_rates_an_index(index: Signed, emulator: Emulator) -> None:
    """One second's worth may come at once; what exceeds it is refused until it is paid off."""
    emulator.blocking.switch(rates=True)
    many = [{"key": f"k{n}", "data": {"float32": [1, 0, 0, 0]}} for n in range(500)]
    answers = [index.call("PutVectors", vectors=many) for _ in range(40)]
    statuses = [answer.status for answer in answers]
    assert statuses[:5] == [200] * 5
    assert set(statuses) <= {200, 429}
    assert 429 in statuses
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.error[:2] == (429, "TooManyRequestsException")
    assert index.query().status == 200
    emulator.blocking.create_index(BUCKET, "memory-beta", dimension=4)
    assert Signed(emulator, index="memory-beta").put("K").status == 200

"""What is to go wrong, on demand: late, refused, dropped before or after its effect, cut short."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypeAlias, get_args

from memlane.errors import ValidationError
from memlane.testing.emulator.failure import AwsError

__all__ = ("FaultKind", "FaultPlan", "FaultRule")

FaultKind: TypeAlias = Literal["error", "reset", "truncate", "slow"]
"""How a request goes wrong.

- `error`: it is refused with a status and a code.
- `reset`: its connection is reset.
- `truncate`: its answer is cut off in the middle.
- `slow`: its answer comes in drops, over `seconds`.
"""

_CODES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("ValidationException", "The request is not valid"),
    402: ("ServiceQuotaExceededException", "The quota is exceeded"),
    403: ("AccessDeniedException", "Access is denied"),
    404: ("NotFoundException", "The specified resource could not be found"),
    408: ("RequestTimeoutException", "The request timed out"),
    409: ("ConflictException", "The request conflicts with another one"),
    424: ("ModelErrorException", "The model could not be run"),
    429: ("TooManyRequestsException", "Too many requests"),
    500: ("InternalServerException", "Internal server error"),
    503: ("ServiceUnavailableException", "Currently unable to handle the request"),
}
_OF_MODELS: Final[Mapping[int, str]] = {
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    429: "ThrottlingException",
}
_OF_STS: Final[Mapping[int, str]] = {
    400: "ValidationError",
    403: "AccessDenied",
    429: "Throttling",
    500: "InternalFailure",
    503: "ServiceUnavailable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """Which requests go wrong, and how.

    Args:
        operation: Such as "QueryVectors"; None for any.
        kind: How; None if they are only late.
        moment: Whether the fault, or the lateness, comes before or after the request's effect.
        latency: Seconds they wait.
        status: Of an error.
        code: Of an error; what the service says with that status if None.
        message: Of an error.
        seconds: Over which a slow answer comes.
        rate: The share of them, drawn from a seeded source.
        times: How many of them, at most; None for all.
        skip: How many of them go well first.
    """

    operation: str | None = None
    kind: FaultKind | None = None
    moment: Literal["before", "after"] = "before"
    latency: float = 0.0
    status: int = 503
    code: str | None = None
    message: str | None = None
    seconds: float = 1.0
    rate: float = 1.0
    times: int | None = None
    skip: int = 0

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> FaultRule:
        """Return the rule that somebody describes; one with a status or a code is an error.

        Raises:
            ValidationError: It has unknown parts.
        """
        unknown = set(given) - {one.name for one in fields(cls)}
        kind = given.get("kind")
        if unknown or kind not in {None, *get_args(FaultKind)}:
            raise ValidationError(
                f"a fault has no {sorted(unknown) or kind}", remedy="see memlane.testing.emulator"
            )
        if kind is None and ("status" in given or "code" in given):
            kind = "error"
        rule = dict(given)
        rule["kind"] = kind
        return cls(**rule)

    def error(self, service: str) -> AwsError:
        """Return what the request is refused with."""
        code, message = _CODES.get(self.status, ("InternalServerException", "It failed"))
        code = {"bedrock": _OF_MODELS, "sts": _OF_STS}.get(service, {}).get(self.status, code)
        return AwsError(self.code or code, self.status, self.message or message)


class FaultPlan:
    """The rules in force. Each request asks once."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self.clear()

    def clear(self) -> None:
        """Let all go well again."""
        self._random = random.Random(self._seed)
        self._rules: list[_Counted] = []

    def add(self, rule: FaultRule) -> None:
        """Put a rule in force, after those that are."""
        self._rules.append(_Counted(rule))

    def due(self, operation: str) -> tuple[FaultRule, ...]:
        """Return the rules that a request meets: any number that delay it, one that breaks it."""
        if not self._rules:
            return ()
        met: list[FaultRule] = []
        broken = False
        for counted in self._rules:
            rule = counted.rule
            if rule.operation not in {None, operation} or (rule.kind is not None and broken):
                continue
            if counted.turn(self._random):
                met.append(rule)
                broken = broken or rule.kind is not None
        return tuple(met)


class _Counted:
    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self._seen = 0
        self._met = 0

    def turn(self, source: random.Random) -> bool:
        self._seen += 1
        if self._seen <= self.rule.skip:
            return False
        if self.rule.times is not None and self._met >= self.rule.times:
            return False
        if self.rule.rate < 1.0 and source.random() >= self.rule.rate:
            return False
        self._met += 1
        return True

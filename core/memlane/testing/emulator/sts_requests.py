"""What AssumeRole is asked, refused in the words of its schema check where it cannot be meant."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.policy_documents import Policy, parsed

__all__ = ("Assumption", "read_assumption")

_SESSION_NAME: Final = r"[\w+=,.@-]*"
_EXTERNAL_ID: Final = r"[\w+=,.@:\/-]*"
_TAG: Final = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]"
_TAG_SIGNS: Final = frozenset("_.:/=+-@")
_SHORTEST_POLICY, _LONGEST_POLICY = 1, 2_048
_MOST_TAGS, _MOST_ARNS = 50, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """One call of AssumeRole, each member within its bounds.

    Args:
        duration: In seconds.
        tags: In the order given.
        transitive: Keys of tags.
        policy: The inline session policy.
        plain: It as it came, and the ARNs: what is packed beside the tags.
    """

    role_arn: str
    session_name: str
    duration: int
    tags: Mapping[str, str]
    transitive: tuple[str, ...]
    policy: Policy | None
    policy_arns: tuple[str, ...]
    external_id: str | None
    source_identity: str | None
    plain: str

    def packed_percent(self, allotted: int) -> int | None:
        """Return how much of its space the session's policy and tags take; None without any.

        How AWS packs is not known [?]: here it is zlib for the policy, and tags as they are.

        Raises:
            AwsError: PackedPolicyTooLarge.
        """
        if not self.plain and not self.tags:
            return None
        used = len(zlib.compress(self.plain.encode(), 9)) if self.plain else 0
        used += sum(len(key.encode()) + len(value.encode()) + 2 for key, value in self.tags.items())
        percent = -(-used * 100 // allotted)
        if percent > 100:
            raise AwsError(
                "PackedPolicyTooLarge",
                400,
                f"Packed policy consumes {percent}% of allotted space, please use smaller policy.",
            )
        return percent


def read_assumption(form: Mapping[str, str]) -> Assumption:
    """Return what a form asks for.

    Raises:
        AwsError: ValidationError with everything that is out of bounds, or
            MalformedPolicyDocument.
    """
    problems: list[str] = []
    role_arn = _text(form, "RoleArn", (20, 2_048), None, problems)
    session_name = _text(form, "RoleSessionName", (2, 64), _SESSION_NAME, problems)
    external_id = source_identity = None
    if "ExternalId" in form:
        external_id = _text(form, "ExternalId", (2, 1_224), _EXTERNAL_ID, problems)
    if "SourceIdentity" in form:
        source_identity = _text(form, "SourceIdentity", (2, 64), _SESSION_NAME, problems)
    policy = form.get("Policy")
    if policy is not None:
        _text(form, "Policy", (_SHORTEST_POLICY, _LONGEST_POLICY), None, problems, shown=False)
    duration = _duration(form, problems)
    tags = _tags(form, problems)
    transitive = tuple(_members(form, "TransitiveTagKeys.member.{}"))
    arns = tuple(_members(form, "PolicyArns.member.{}.arn"))
    for name, count, most in (
        ("tags", len(tags), _MOST_TAGS),
        ("transitiveTagKeys", len(transitive), _MOST_TAGS),
        ("policyArns", len(arns), _MOST_ARNS),
    ):
        if count > most:
            problems.append(_constraint(None, name, f"have length less than or equal to {most}"))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise _invalid(f"{len(problems)} validation {noun} detected: {'; '.join(problems)}")
    _check_tags(tags, transitive)
    plain = policy or ""
    if arns and len(plain) + sum(map(len, arns)) > _LONGEST_POLICY:
        # Inline and managed policies together have one bound [M].
        raise AwsError("PackedPolicyTooLarge", 400, "The session policies are too long.")
    return Assumption(
        role_arn=role_arn,
        session_name=session_name,
        duration=duration,
        tags=dict(tags),
        transitive=transitive,
        policy=None if policy is None else parsed(policy, "session"),
        policy_arns=arns,
        external_id=external_id,
        source_identity=source_identity,
        plain=plain + "".join(arns),
    )


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", 400, message)


def _constraint(value: str | None, name: str, rule: str) -> str:
    shown = "Value" if value is None else f"Value '{value}'"
    return f"{shown} at '{name}' failed to satisfy constraint: Member must {rule}"


def _text(
    form: Mapping[str, str],
    name: str,
    bounds: tuple[int, int],
    pattern: str | None,
    problems: list[str],
    *,
    shown: bool = True,
) -> str:
    value = form.get(name)
    member = name[0].lower() + name[1:]
    if value is None:
        problems.append(_constraint("null", member, "not be null").replace("'null'", "null"))
        return ""
    said = value if shown else None
    least, most = bounds
    if pattern is not None and re.fullmatch(pattern, value, re.ASCII) is None:
        problems.append(_constraint(said, member, f"satisfy regular expression pattern: {pattern}"))
    if len(value) < least:
        problems.append(_constraint(said, member, f"have length greater than or equal to {least}"))
    if len(value) > most:
        problems.append(_constraint(said, member, f"have length less than or equal to {most}"))
    return value


def _duration(form: Mapping[str, str], problems: list[str]) -> int:
    text = form.get("DurationSeconds", "3600")
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise AwsError("MalformedInput", 400, "DurationSeconds is no number")
    seconds = int(text)
    if seconds < 900:
        problems.append(
            _constraint(text, "durationSeconds", "have value greater than or equal to 900")
        )
    if seconds > 43_200:
        problems.append(
            _constraint(text, "durationSeconds", "have value less than or equal to 43200")
        )
    return seconds


def _members(form: Mapping[str, str], template: str) -> list[str]:
    values: list[str] = []
    while (value := form.get(template.format(len(values) + 1))) is not None:
        values.append(value)
    return values


def _tags(form: Mapping[str, str], problems: list[str]) -> list[tuple[str, str]]:
    keys = _members(form, "Tags.member.{}.Key")
    tags = [(key, form.get(f"Tags.member.{at}.Value", "")) for at, key in enumerate(keys, 1)]
    for at, (key, value) in enumerate(tags, 1):
        for text, name, least, most in (
            (key, f"tags.{at}.member.key", 1, 128),
            (value, f"tags.{at}.member.value", 0, 256),
        ):
            if not all(_taggable(letter) for letter in text):
                sign = "+" if least else "*"
                problems.append(
                    _constraint(text, name, f"satisfy regular expression pattern: {_TAG}{sign}")
                )
            if not least <= len(text) <= most:
                rule = f"less than or equal to {most}" if text else "greater than or equal to 1"
                problems.append(_constraint(text, name, f"have length {rule}"))
    return tags


def _taggable(letter: str) -> bool:
    """Say whether a letter may stand in a tag: letters, separators, numbers and a few signs [M]."""
    return letter in _TAG_SIGNS or unicodedata.category(letter)[0] in "LZN"


def _check_tags(tags: list[tuple[str, str]], transitive: tuple[str, ...]) -> None:
    folded = [key.casefold() for key, _ in tags]
    if len(set(folded)) < len(folded):
        raise AwsError(
            "InvalidParameterValue",
            400,
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        )
    if any(key.startswith("aws:") for key in folded):
        raise AwsError(
            "InvalidParameterValue", 400, "System tags cannot be added/updated by requester"
        )
    if not {key.casefold() for key in transitive} <= set(folded):
        raise AwsError(
            "InvalidParameterValue",
            400,
            "The specified transitive tag key must be included in the requested tags.",
        )

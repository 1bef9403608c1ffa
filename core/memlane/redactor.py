"""A redactor that knows addresses, numbers and keys by their shape, and asks no model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, TypeAlias, cast, get_args

from memlane.errors import RedactedError, ValidationError
from memlane.patterns import lazy
from memlane.receipts import Finding, Redaction
from memlane.runtime import WorkerThreads
from memlane.sensitive import FINDERS, Finder, Span

__all__ = ("Action", "RegexRedactor")

Action: TypeAlias = Literal["redact", "block", "tag"]
"""What is done about a finding: a placeholder takes its place; nothing of it is stored at all; it
is kept, and the record is labelled."""

_ACTIONS: Final = frozenset(get_args(Action))
_KIND: Final = lazy(r"[a-z][a-z0-9_]{0,31}")
_INLINE_CHARS: Final = 2_000  # this much text takes half a millisecond, or on purpose four
_SECRETS: Final = frozenset({"private_key", "aws_key", "token"})


class RegexRedactor:
    """Finds what is private by its shape, in time that grows with the text and no faster.

    What it knows are "email", "phone", "card", "aws_key", "token" and "private_key"; docs/redaction
    says what each catches and what none of them can.

    Args:
        kinds: What to look for; all it knows if left out.
        action: What to do about a finding: "redact" puts `[email]` in its place, "block" refuses
            the text, "tag" keeps it and labels the record "pii:email", or "secret:token" for what
            opens doors. One for all, or a mapping by kind, where those left out are redacted.
        patterns: Further kinds: name to regular expression, all of whose match is what was found.
            How long a pattern of yours takes on a hostile text is for you to see to.

    Raises:
        ValidationError: A kind or an action is unknown, or a pattern is no regular expression.
    """

    def __init__(
        self,
        kinds: Iterable[str] | None = None,
        *,
        action: Action | Mapping[str, Action] = "redact",
        patterns: Mapping[str, str | re.Pattern[str]] | None = None,
    ) -> None:
        own = {kind: _finder(kind, pattern) for kind, pattern in (patterns or {}).items()}
        chosen = _chosen(kinds)
        # Of two that meet the earlier names what is taken out: what the caller knows best.
        finders: dict[str, Finder] = own | {kind: FINDERS[kind] for kind in chosen}
        actions = _actions(action, tuple(finders))
        self._threads = WorkerThreads("memlane-redact", 1)
        self._finders = tuple((kind, actions[kind], find) for kind, find in finders.items())

    async def redact(self, text: str) -> Redaction:
        """Return the text as it may be kept, and what was found in it.

        Raises:
            RedactedError: It holds what is to be blocked.
        """
        if len(text) <= _INLINE_CHARS:
            return self._redacted(text)
        return await self._threads.run(self._redacted, text)

    def _redacted(self, text: str) -> Redaction:
        findings: list[Finding] = []
        tags: list[str] = []
        places: list[tuple[Span, str]] = []
        for kind, action, find in self._finders:
            spans = [span for span in find(text) if span[1] > span[0]]
            if not spans:
                continue
            if action == "block":
                raise RedactedError(
                    f"a text holds what looks like this: {kind}; that may not be kept",
                    remedy="take it out, or let the redactor redact it",
                )
            if action == "redact":
                places += [(span, kind) for span in spans]
                continue
            findings += [Finding(kind=kind, start=start, end=end) for start, end in spans]
            tags.append(f"{'secret' if kind in _SECRETS else 'pii'}:{kind}")
        if not places:
            return Redaction(text=text, findings=tuple(findings), tags=tuple(tags))
        merged = list(_merged(places))
        findings += [Finding(kind=kind, start=start, end=end) for (start, end), kind in merged]
        return Redaction(text=_replaced(text, merged), findings=tuple(findings), tags=tuple(tags))


def _merged(places: list[tuple[Span, str]]) -> Iterator[tuple[Span, str]]:
    """Yield stretches that do not meet, in order, each with the kind that was looked for first."""
    ranks = {kind: rank for rank, kind in enumerate(dict.fromkeys(kind for _, kind in places))}
    begin, finish, best = -1, -1, ""
    for (start, end), kind in sorted(places, key=lambda place: place[0]):
        if start < finish:
            finish = max(finish, end)
            best = min(best, kind, key=ranks.__getitem__)
            continue
        if best:
            yield (begin, finish), best
        begin, finish, best = start, end, kind
    yield (begin, finish), best


def _replaced(text: str, places: Iterable[tuple[Span, str]]) -> str:
    pieces: list[str] = []
    at = 0
    for (start, end), kind in places:
        pieces += (text[at:start], f"[{kind}]")
        at = end
    return "".join((*pieces, text[at:]))


def _finder(kind: object, pattern: object) -> Finder:
    if not isinstance(kind, str) or not _KIND().fullmatch(kind) or kind in FINDERS:
        raise ValidationError(
            "the name of a pattern is no new word of a-z, 0-9 and _",
            remedy=f"name it otherwise than {', '.join(FINDERS)}, such as badge_number",
        )
    if not isinstance(pattern, str | re.Pattern):
        raise ValidationError(
            f"the pattern of {kind} is no regular expression", remedy="pass a string, or re.compile"
        )
    try:
        compiled = re.compile(cast("str", pattern))
        compiled.search("")
    except (re.error, TypeError) as exc:
        raise ValidationError(
            f"the pattern of {kind} is no regular expression for text", remedy="correct it"
        ) from exc
    return lambda text: (found.span() for found in compiled.finditer(text))


def _chosen(kinds: object) -> tuple[str, ...]:
    if kinds is None:
        return tuple(FINDERS)
    if isinstance(kinds, str) or not isinstance(kinds, Iterable):
        raise ValidationError("kinds is no list", remedy="pass ['email', 'phone']")
    asked = list(cast("Iterable[object]", kinds))
    if unknown := [kind for kind in asked if kind not in FINDERS]:
        raise ValidationError(
            f"{len(unknown)} of the kinds are unknown", remedy=f"pass some of {', '.join(FINDERS)}"
        )
    return tuple(kind for kind in FINDERS if kind in asked)


def _actions(action: object, kinds: tuple[str, ...]) -> dict[str, Action]:
    asked: Mapping[object, object] = dict.fromkeys(kinds, action)
    if isinstance(action, Mapping):
        asked = cast("Mapping[object, object]", action)
    for kind, wanted in asked.items():
        if kind not in kinds:
            raise ValidationError(
                "an action is for a kind that is not looked for",
                remedy=f"name some of {', '.join(kinds)}",
            )
        if wanted not in _ACTIONS:
            raise ValidationError("unknown action", remedy="pass redact, block or tag")
    return {kind: cast("Action", asked.get(kind, "redact")) for kind in kinds}

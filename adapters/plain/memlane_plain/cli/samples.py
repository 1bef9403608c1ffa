"""What the demo runs on: the example conversations with their questions, or a file of yours."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from memlane import MemlaneError, Scope
from memlane_plain.cli.importing import entries, form_of, opened
from memlane_plain.cli.transcripts import Entry

__all__ = (
    "Question",
    "Sample",
    "SampleError",
    "Whose",
    "derived_questions",
    "read_questions",
    "read_sample",
    "unique_to",
)

_KEPT: Final = 5_000  # messages of one's own file that questions are made from
_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_QUESTIONS: Final = 3
_WORDS: Final = 3


class SampleError(MemlaneError):
    """The demo has nothing to run on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something to ask, and what a right answer contains.

    Args:
        text: The question.
        scope: Who asks.
        expect: Part of the memory that answers it, if that is known.
        why: What makes it hard, or where it is from.
    """

    text: str
    scope: Scope
    expect: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Whose a message is.

    Args:
        user: The user, whatever lines say.
        tenant: The tenant, whatever lines say.
        default: The user of lines that name none.
    """

    user: str | None
    tenant: str | None
    default: str

    def of(self, entry: Entry) -> Scope:
        """Return the owner of one message."""
        return Scope(self.user or entry.user or self.default, tenant=self.tenant or entry.tenant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A file of conversations, as far as the demo looks into it.

    Args:
        path: The file.
        whose: How its messages find their owners.
        named: Some line names a user.
        owners: Whose memories are in it, most messages first.
        said: The messages of the first owner, or the first thousands of them.
    """

    path: Path
    whose: Whose
    named: bool
    owners: tuple[Scope, ...]
    said: tuple[Entry, ...]


def read_sample(path: Path, whose: Whose) -> Sample:
    """Read a file through and return what the demo needs of it.

    Raises:
        TranscriptError: It is neither JSONL nor a transcript.
        OSError: It cannot be read.
    """
    counts: Counter[Scope] = Counter()
    said: dict[Scope, list[Entry]] = {}
    named = False
    with opened(str(path)) as file:
        for entry in entries(file, form_of(file)):
            owner = whose.of(entry)
            named = named or entry.user is not None
            counts[owner] += 1
            if len(kept := said.setdefault(owner, [])) < _KEPT:
                kept.append(entry)
    owners = tuple(owner for owner, _ in counts.most_common())
    return Sample(path=path, whose=whose, named=named, owners=owners, said=tuple(said[owners[0]]))


def read_questions(path: Path) -> list[Question]:
    """Return the questions of a JSONL file: tenant, user, question, expect, why.

    Raises:
        SampleError: A line is not a question.
        OSError: The file cannot be read.
    """
    found: list[Question] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            given = cast("dict[str, Any]", json.loads(line))
            found.append(
                Question(
                    text=given["question"],
                    scope=Scope(given["user"], tenant=given.get("tenant")),
                    expect=given.get("expect"),
                    why=given.get("why"),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise SampleError(
                f"{path}, line {number}: not a question",
                remedy='write {"user": "...", "question": "...", "expect": "..."}',
            ) from exc
    return found


def derived_questions(said: Sequence[Entry], scope: Scope) -> list[Question]:
    """Return questions made of a conversation's own rare words, about messages far apart."""
    words = Counter(word.lower() for entry in said for word in set(_WORD.findall(entry.text)))
    telling = [entry for entry in said if len(_rare(entry.text, words)) == _WORDS] or list(said)
    step = max(1, len(telling) // _QUESTIONS)
    questions: list[Question] = []
    for entry in telling[step // 2 :: step][:_QUESTIONS]:
        topic = ", ".join(_rare(entry.text, words)) or entry.text[:60]
        said_by = f"did {entry.actor} say" if entry.actor else "was said"
        questions.append(
            Question(
                text=f"What {said_by} about {topic}?",
                scope=scope,
                expect=entry.text,
                why=f"made of words of line {entry.line}",
            )
        )
    return questions


def _rare(text: str, words: Counter[str]) -> list[str]:
    """Return the rarest words of a text, in its own order."""
    mine = dict.fromkeys(_WORD.findall(text))
    rarest = sorted(mine, key=lambda word: (words[word.lower()], -len(word)))[:_WORDS]
    return [word for word in mine if word in rarest]


def unique_to(owner: Scope, texts: Iterable[str], sample: Sample) -> str | None:
    """Return one of an owner's texts that nobody else in the file has said, long enough to tell."""
    candidates = [text for text in texts if 20 <= len(text) <= 400]  # noqa: PLR2004 - one page
    with opened(str(sample.path)) as file:
        for entry in entries(file, form_of(file)):
            if sample.whose.of(entry) != owner:
                candidates = [text for text in candidates if text not in entry.text]
    return candidates[0] if candidates else None

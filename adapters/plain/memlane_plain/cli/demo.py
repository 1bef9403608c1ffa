"""`memlane demo`: store, end the process, ask, isolate and forget, on a real file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import anyio
import typer
from rich.text import Text

from memlane import Match, MemoryClient, NotFoundError, RetrievalOptions, Scope
from memlane_plain.cli.options import Debug, refuse
from memlane_plain.cli.output import Output, clean, receipt_data
from memlane_plain.cli.samples import (
    Question,
    Sample,
    SampleError,
    Whose,
    derived_questions,
    read_questions,
    read_sample,
    unique_to,
)
from memlane_plain.connection import connect_with
from memlane_plain.settings import Settings

__all__ = ("demo",)

_NOBODY: Final = "you"
_TOP: Final = 3
_EXCERPT: Final = 72
_CHUNK: Final = 1 << 20
_OTHER_TENANT: Final = "a user of another tenant"
_OTHER_USER: Final = "another user of the same tenant"
_SAME_NAME: Final = "a user of the same name in another tenant"
_OTHERS: Final = (_OTHER_TENANT, _OTHER_USER, _SAME_NAME)


def demo(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="JSONL or a transcript; the examples if left out."),
    ] = None,
    *,
    question: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="What to ask; may be repeated.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose conversations they are.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose customer that user is.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the store in this new file.", show_default=False),
    ] = None,
    examples: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the example files.")
    ] = Path("docs/examples"),
    debug: Debug = False,
) -> None:
    """See it work on conversations: store, ask, isolate, forget."""
    del debug
    whose = Whose(user=user, tenant=tenant, default=_NOBODY)
    path = file or examples / "conversations.jsonl"
    if file is None and not path.is_file():
        refuse(f"there are no examples in {examples}", "pass a FILE of yours, or --examples DIR")
    if store is not None and store.exists():
        refuse(f"--store {store} exists already", "name a file that does not exist yet")
    sample = read_sample(path, whose)
    asked = examples / "questions.jsonl" if file is None else None
    questions = _questions(sample, given=question or [], asked=asked)
    with _new_store(store) as place:
        _Demo(sample, questions, store=place, kept=store is not None).run()


def _questions(sample: Sample, *, given: Sequence[str], asked: Path | None) -> list[Question]:
    owner = sample.owners[0]
    if given:
        return [Question(text=text, scope=owner) for text in given]
    if asked is None:
        return [] if sys.stdin.isatty() else derived_questions(sample.said, owner)
    questions = [one for one in read_questions(asked) if one.scope in sample.owners]
    if not questions:
        raise SampleError(
            f"no question in {asked} is of a user in {sample.path}",
            remedy="pass --question TEXT",
        )
    return questions


@contextmanager
def _new_store(kept: Path | None) -> Generator[Path]:
    if kept is not None:
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="memlane-demo-") as folder:
        yield Path(folder) / "memory.db"


class _Demo:
    """The steps, in order, on one store."""

    def __init__(
        self, sample: Sample, questions: list[Question], *, store: Path, kept: bool
    ) -> None:
        self._sample = sample
        self._questions = questions
        self._store = store
        self._kept = kept
        self._url = f"sqlite:///{quote(str(store))}"
        self._out = Output()
        self._found: dict[Scope, set[str]] = {}  # ids that answered their rightful owner

    def run(self) -> None:
        self._ingest()
        anyio.run(self._recall)
        self._what_next()

    def _heading(self, number: int, title: str, line: str) -> None:
        self._out.say(Text(f"\n{number}. {title}", style="bold cyan"))
        self._out.say(Text(clean(line), style="dim"), indent=3)

    def _say(self, *parts: str | Text) -> None:
        self._out.say(*parts, indent=3)

    # 1 and 2

    def _ingest(self) -> None:
        self._heading(
            1, "Store", f"Every message of {self._sample.path.name} goes into one new file."
        )
        owner = self._sample.owners[0]
        whose = self._sample.whose
        told = ["import", str(self._sample.path), "--url", self._url]
        if whose.user is not None or not self._sample.named:
            told += ["--user", owner.user]
        if whose.tenant is not None:
            told += ["--tenant", whose.tenant]
        since = time.monotonic()
        # The same interpreter and the same file, as this user could have typed it.
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "memlane_plain", *told],
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        report, _ = child.communicate()
        if child.returncode:
            raise typer.Exit(child.returncode)
        for line in report.splitlines():
            self._say(line.rstrip())
        self._say(f"in {time.monotonic() - since:.1f} s, in {self._store}")
        self._heading(2, "End that process", "What it stored is in the file, or it was not stored.")
        self._say(f"process {child.pid} stored the messages, and has ended")
        self._say(f"process {os.getpid()} opens the file now, for the first time")

    async def _recall(self) -> None:
        async with connect_with(Settings(url=self._url)) as client:
            await self._ask(client)
            await self._isolate(client)
            await self._forget(client)

    # 3

    async def _ask(self, client: MemoryClient) -> None:
        self._heading(
            3, "Ask", "Score ranks one answer; similar is the meaning alone; why is their make-up."
        )
        if not self._questions:
            await self._talk(client)
            return
        right = known = 0
        since = time.monotonic()
        for number, question in enumerate(self._questions, start=1):
            place = await self._answer(client, question, str(number))
            known += question.expect is not None
            right += place is not None
        took = time.monotonic() - since
        self._out.say("")
        asked = len(self._questions)
        self._say(f"{asked} question{'s' if asked > 1 else ''} in {took:.1f} s")
        if known:
            self._say(Text(f"found in the top {_TOP}: {right} of {known}", style="bold"))

    async def _talk(self, client: MemoryClient) -> None:
        owner = self._sample.owners[0]
        self._say(f"asking as {_name(owner)}; an empty line goes on")
        while text := typer.prompt("   ask", default="", show_default=False).strip():
            question = Question(text=text, scope=owner)
            self._questions.append(question)
            await self._answer(client, question, str(len(self._questions)))
        if not self._questions:
            self._questions = derived_questions(self._sample.said, owner)

    async def _answer(self, client: MemoryClient, question: Question, number: str) -> int | None:
        """Ask, show what came, and return at which place the expected memory was."""
        matches = await self._retrieve(client, question.text, question.scope)
        self._found.setdefault(question.scope, set()).update(one.record.id for one in matches)
        place = next((at for at, match in enumerate(matches) if _answers(match, question)), None)
        self._out.say("")
        about = _name(question.scope) + (f"; {question.why}" if question.why else "")
        self._say(Text(f"Q{number} {clean(question.text)}", style="bold"))
        self._say(Text(clean(f"asked by {about}"), style="dim"))
        if not matches:
            self._say("nothing found")
        shown = _TOP if question.expect is None or place is None else place + 1
        for at, match in enumerate(matches[:shown]):
            self._show(match, question, hit=at == place)
        if question.expect is not None and place is None:
            self._tell(f"what was expected is not in the top {_TOP}", good=False)
        return place

    @staticmethod
    async def _retrieve(client: MemoryClient, text: str, scope: Scope) -> Sequence[Match]:
        # Every agent's, the widest a user can look: a file may have been several agents'.
        everything = RetrievalOptions(include_agents=True)
        return await client.retrieve(text, scope=scope, limit=_TOP, options=everything)

    def _show(self, match: Match, question: Question, *, hit: bool) -> None:
        record = match.record
        mark = self._out.mark(good=True) if hit else " "
        alike = "-" if match.similarity is None else f"{match.similarity:.2f}"
        about = f" score {match.score:.2f}  similar {alike}  {record.occurred_at:%Y-%m-%d}"
        self._say(mark, about, f"  {record.actor or '-'}")
        self._out.say(_excerpt(match.passage, question.expect), indent=5)
        shares = sorted(match.features.items(), key=lambda item: -item[1])
        parts = [f"{name} {share / match.score:.0%}" for name, share in shares if share > 0.005]  # noqa: PLR2004
        self._out.say(Text(f"why: {', '.join(parts)}", style="dim"), indent=5)

    # 4

    async def _isolate(self, client: MemoryClient) -> None:
        self._heading(
            4, "Isolate", "The same questions, asked by others: what is not theirs stays unseen."
        )
        owners = [scope for scope in self._sample.owners if scope in self._found]
        for kind in _OTHERS:
            total = foreign = 0
            for question in self._questions:
                other = self._other(question.scope, kind)
                matches = await self._retrieve(client, question.text, other)
                total += len(matches)
                foreign += sum(self._is_foreign(match, other) for match in matches)
            own = f", {total - foreign} of their own" if total > foreign else ""
            self._tell(f"{kind}: {foreign} foreign matches{own}", good=not foreign)
        refused = tried = 0
        for owner in owners:
            for record_id in sorted(self._found[owner]):
                for kind in _OTHERS:
                    tried += 1
                    try:
                        other = self._other(owner, kind)
                        await client.get(record_id, scope=other, include_agents=True)
                    except NotFoundError:
                        refused += 1
        self._tell(
            f"get by id, as each of them: {refused} of {tried} not found", good=refused == tried
        )

    def _other(self, scope: Scope, kind: str) -> Scope:
        """Return somebody else: of this file where there is one, else somebody made up."""
        if kind == _SAME_NAME:
            taken = [one.tenant for one in self._sample.owners if one.tenant != scope.tenant]
            return replace(scope, tenant=taken[0] if taken else "another-tenant")
        if kind == _OTHER_TENANT:
            others = [one for one in self._sample.owners if one.tenant != scope.tenant]
            return others[0] if others else Scope("somebody-else", tenant="another-tenant")
        others = [
            one
            for one in self._sample.owners
            if one.tenant == scope.tenant and one.user != scope.user
        ]
        return others[0] if others else Scope("somebody-else", tenant=scope.tenant)

    def _is_foreign(self, match: Match, asker: Scope) -> bool:
        owner = match.record.scope
        return (owner.tenant, owner.user) != (asker.tenant, asker.user) or any(
            match.record.id in ids
            for scope, ids in self._found.items()
            if (scope.tenant, scope.user) != (asker.tenant, asker.user)
        )

    def _tell(self, text: str, *, good: bool) -> None:
        mark = self._out.mark(good=good)
        self._say(mark, f" {text}")

    # 5

    async def _forget(self, client: MemoryClient) -> None:
        owner = self._sample.owners[-1]
        self._heading(5, "Forget", f"All of {_name(owner)}, and then a look at the file's bytes.")
        page = await client.list(scope=owner, limit=200)
        canary = unique_to(owner, (record.text for record in page.items), self._sample)
        if canary is not None:
            before = _occurrences(canary, self._store)
            self._say(f"in the file's bytes, found {_times(before)}: {_excerpt(canary, None)}")
        receipt = await client.forget(owner)
        self._say(", ".join(f"{name} {value}" for name, value in receipt_data(receipt).items()))
        question = next((one for one in self._questions if one.scope == owner), self._questions[0])
        left = await self._retrieve(client, question.text, owner)
        self._tell(f"asked again as {_name(owner)}: {len(left)} matches", good=not left)
        if canary is not None:
            after = _occurrences(canary, self._store)
            self._tell(f"in the bytes of file and log, found {_times(after)}", good=not after)
        for other in self._sample.owners[:-1][:_TOP]:
            self._say(f"{_name(other)} still has {await client.count(scope=other)} memories")

    # 6

    def _what_next(self) -> None:
        self._heading(6, "What next", "Yours to try:")
        if self._kept:
            owner = self._sample.owners[0]
            whose = f"--user {owner.user}" + (f" --tenant {owner.tenant}" if owner.tenant else "")
            self._say(f'memlane retrieve "..." {whose} --url {self._url}')
        else:
            self._say("memlane demo --store demo.db     the same, and the store is kept")
        self._say("memlane demo chat.txt            your own conversations: JSONL or Name: text")
        self._say("memlane --help                   all commands, each with an example")


def _name(scope: Scope) -> str:
    return f"{scope.user} of {scope.tenant}" if scope.tenant else scope.user


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _answers(match: Match, question: Question) -> bool:
    return question.expect is not None and _folded(question.expect) in _folded(match.record.text)


def _excerpt(text: str, around: str | None) -> str:
    """Return one line of a text, with the part that matters in it."""
    line = " ".join(clean(text).split())
    if len(line) <= _EXCERPT:
        return line
    at = line.casefold().find(_folded(around)) if around else -1
    start = 0 if at < 0 else max(0, min(at - _EXCERPT // 3, len(line) - _EXCERPT))
    cut = line[start : start + _EXCERPT]
    return ("…" if start else "") + cut.strip() + ("…" if start + _EXCERPT < len(line) else "")


def _occurrences(text: str, store: Path) -> int:
    """Return how often a text is in the bytes of a store's files, whatever SQLite says."""
    wanted = text.encode()
    total = 0
    for path in sorted(store.parent.glob(f"{store.name}*")):
        with path.open("rb") as file:
            tail = b""
            while chunk := file.read(_CHUNK):
                total += (tail + chunk).count(wanted)
                tail = chunk[-(len(wanted) - 1) :]
    return total

"""The verbs that change memory: store, update, delete, forget."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, cast

import typer

from memlane import MemoryRecord, Source
from memlane.types import Duplicates
from memlane.writing import UNSET, Unset
from memlane_plain.cli.options import (
    FLAG,
    AllAgents,
    Call,
    RecordId,
    command,
    length_of_time,
    metadata,
    moment,
    refuse,
)
from memlane_plain.cli.output import as_data

__all__ = ("delete", "forget", "store", "update")

Kind = Annotated[
    str | None, typer.Option(metavar="WORD", help='What sort of thing it is, such as "fact".')
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="WORD", help="A label; may be repeated.")
]
Meta = Annotated[
    list[str] | None,
    typer.Option("--meta", metavar="KEY=VALUE", help="JSON or plain text; may be repeated."),
]
Actor = Annotated[str | None, typer.Option(metavar="NAME", help="Who said it.")]
OccurredAt = Annotated[
    str | None, typer.Option(metavar="ISO", help="When it happened, such as 2026-03-14; UTC.")
]
Ttl = Annotated[
    str | None, typer.Option(metavar="30d", help="How long to keep it: 90s, 45m, 12h, 30d, 8w.")
]
ValidFrom = Annotated[str | None, typer.Option(metavar="ISO", help="Since when it is true; UTC.")]
ValidTo = Annotated[
    str | None, typer.Option(metavar="ISO", help="Until when it is true, not included; UTC.")
]
Vouching = Annotated[
    str | None,
    typer.Option("--source", metavar="WHO", help="Who vouches: app, user, assistant, tool."),
]
Place = Annotated[
    str | None, typer.Option(metavar="PATH", help='A path inside the scope, such as "/trips/".')
]


def _given(text: str) -> str:
    """Return the text of an argument, or standard input for "-"."""
    if text != "-":
        return text
    try:
        return sys.stdin.buffer.read().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        refuse("standard input is not UTF-8 text", "convert it first")


def _done(call: Call, verb: str, record: MemoryRecord) -> None:
    if call.out.as_json:
        call.out.data(as_data(record))
    else:
        call.out.say(f"{verb} {record.id}")


def _or_unset(given: datetime | None) -> datetime | Unset:
    return UNSET if given is None else given


def _end(ttl: str | None) -> datetime | Unset:
    """Return when what is kept so long from now ends."""
    lasting = length_of_time(ttl)
    if lasting is None:
        return UNSET
    try:
        return datetime.now(UTC) + lasting
    except OverflowError:
        refuse(f"--ttl {ttl!r} is too long", "give --ttl never to keep it for ever")


@command
async def store(
    call: Call,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help='What to remember; "-" reads standard input.')
    ],
    *,
    namespace: Place = None,
    kind: Kind = None,
    tags: Tags = None,
    meta: Meta = None,
    actor: Actor = None,
    occurred_at: OccurredAt = None,
    ttl: Ttl = None,
    valid_from: ValidFrom = None,
    valid_to: ValidTo = None,
    source: Vouching = None,
    duplicates: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="Where one says nearly the same: keep both, report it, or collapse into it.",
        ),
    ] = "keep",
    record_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="An id of your own; one is made if left out."),
    ] = None,
) -> None:
    """Remember one thing."""
    scope = call.scope
    content = _given(text)
    async with call.client(making=True) as client:
        record = await client.store(
            content,
            scope=scope,
            namespace=namespace or "/",
            kind=kind or "fact",
            metadata=metadata(meta or []),
            tags=tags or [],
            actor=actor,
            occurred_at=moment(occurred_at),
            ttl=length_of_time(ttl),
            record_id=record_id,
            source=cast("Source", source or "app"),
            valid_from=moment(valid_from, option="--valid-from"),
            valid_to=moment(valid_to, option="--valid-to"),
            duplicates=cast("Duplicates", duplicates),
        )
        receipt = client.last_receipt()
    near = receipt.near_duplicates if receipt is not None else ()
    if near:
        call.out.note(f"nearly the same is there: {', '.join(near)}")
    _done(call, "was there as" if record.id in near else "stored", record)


@command
async def update(
    call: Call,
    record_id: RecordId,
    *,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help='The new text; "-" reads it.')
    ] = None,
    namespace: Place = None,
    kind: Kind = None,
    tags: Tags = None,
    meta: Meta = None,
    actor: Actor = None,
    occurred_at: OccurredAt = None,
    ttl: Annotated[
        str | None,
        typer.Option(metavar="30d|never", help="Keep it so long from now, or for ever."),
    ] = None,
    valid_from: ValidFrom = None,
    valid_to: ValidTo = None,
    source: Vouching = None,
    no_tags: Annotated[
        bool, typer.Option("--no-tags", metavar=FLAG, help="Take all tags away.")
    ] = False,
    no_meta: Annotated[
        bool, typer.Option("--no-meta", metavar=FLAG, help="Take all metadata away.")
    ] = False,
    expected_version: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only if it is at this version.")
    ] = None,
    all_agents: AllAgents = False,
) -> None:
    """Change a memory; what is not named stays.

    --tag and --meta replace all the tags and all the metadata there are.
    """
    scope = call.scope
    if (tags and no_tags) or (meta and no_meta):
        refuse(
            "something is both set and taken away", "give --tag or --no-tags, --meta or --no-meta"
        )
    expires_at = None if ttl == "never" else _end(ttl)
    async with call.client() as client:
        record = await client.update(
            record_id,
            scope=scope,
            text=UNSET if text is None else _given(text),
            namespace=UNSET if namespace is None else namespace,
            kind=UNSET if kind is None else kind,
            tags=tags or ([] if no_tags else UNSET),
            metadata=metadata(meta) if meta else ({} if no_meta else UNSET),
            actor=UNSET if actor is None else actor,
            occurred_at=_or_unset(moment(occurred_at)),
            expires_at=expires_at,
            source=UNSET if source is None else cast("Source", source),
            valid_from=_or_unset(moment(valid_from, option="--valid-from")),
            valid_to=_or_unset(moment(valid_to, option="--valid-to")),
            expected_version=expected_version,
            include_agents=all_agents,
        )
    _done(call, f"version {record.version} of", record)


@command
async def delete(
    call: Call,
    record_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Which ones.")],
    all_agents: AllAgents = False,
) -> None:
    """Delete memories by id."""
    scope = call.scope
    async with call.client() as client:
        gone = await client.delete(record_ids, scope=scope, include_agents=all_agents)
    asked = len(set(record_ids))
    if call.out.as_json:
        call.out.data({"deleted": gone})
    else:
        call.out.say(f"deleted {gone} of {asked}")
    if gone < asked:
        if not call.out.as_json:
            call.out.note("the others are not in this scope; check the ids, and --agent")
        raise typer.Exit(1)


@command
async def forget(
    call: Call,
    yes: Annotated[bool, typer.Option("--yes", "-y", metavar=FLAG, help="Do not ask.")] = False,
) -> None:
    """Delete all of a user, agent or session, and prove it."""
    scope = call.scope
    async with call.client() as client:
        if not yes:
            if not sys.stdin.isatty() or call.out.as_json:
                refuse("forget cannot be undone and nobody is there to be asked", "give --yes")
            names = {
                "user": scope.user,
                "tenant": scope.tenant,
                "agent": scope.agent,
                "session": scope.session,
            }
            whose = ", ".join(f"{name} {value!r}" for name, value in names.items() if value)
            total = await client.count(scope=scope)
            if not typer.confirm(f"Forget {total:,} memories of {whose} for ever?", err=True):
                call.out.note("nothing was forgotten")
                raise typer.Exit(1)
        receipt = await call.out.patiently("Forgetting", lambda: client.forget(scope))
    call.out.receipt(receipt)
    if receipt.failed or not receipt.verified_empty:
        raise typer.Exit(1)

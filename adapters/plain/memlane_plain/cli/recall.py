"""The verbs that read memory: retrieve, context, get, list, count."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Final, cast, get_args

import typer

from memlane import RetrievalMode
from memlane_plain.cli.options import (
    FLAG,
    AllAgents,
    Call,
    Filter,
    Limit,
    MinRelevance,
    MinSimilarity,
    Mode,
    Namespace,
    OnlySession,
    RecordId,
    command,
    json_object,
    recall_options,
    refuse,
)
from memlane_plain.cli.output import as_data

__all__ = ("context", "count", "get", "listing", "retrieve")

_MODES: Final = frozenset(get_args(RetrievalMode))

Query = Annotated[str, typer.Argument(metavar="QUERY", help="What to look for, in anyone's words.")]


def _mode(text: str) -> RetrievalMode:
    if text not in _MODES:
        refuse(f"--mode {text!r} is unknown", "use hybrid, vector or text")
    return cast("RetrievalMode", text)


@command
async def retrieve(
    call: Call,
    query: Query,
    *,
    limit: Limit = 5,
    mode: Mode = "hybrid",
    namespace: Namespace = None,
    condition: Filter = None,
    min_similarity: MinSimilarity = None,
    min_relevance: MinRelevance = None,
    why: Annotated[
        bool, typer.Option("--why", metavar=FLAG, help="Show what each score is made of.")
    ] = False,
    all_agents: AllAgents = False,
    only_session: OnlySession = False,
) -> None:
    """Find what answers a question, best first."""
    scope, chosen = call.scope, _mode(mode)
    meets = json_object(condition, option="--filter")
    options = recall_options(
        call, all_agents=all_agents, only_session=only_session, min_relevance=min_relevance
    )
    async with call.client() as client:
        matches = await call.out.patiently(
            "Looking",
            lambda: client.retrieve(
                query,
                scope=scope,
                limit=limit,
                mode=chosen,
                namespace=namespace,
                filter=meets,
                min_similarity=min_similarity,
                options=options,
            ),
        )
    if call.out.as_json:
        call.out.data(
            {
                "matches": [
                    {
                        "score": round(match.score, 6),
                        "similarity": None
                        if match.similarity is None
                        else round(match.similarity, 6),
                        "relevance": None if match.relevance is None else round(match.relevance, 6),
                        "passage": match.passage,
                        "features": {
                            name: round(value, 6) for name, value in match.features.items()
                        },
                        "record": as_data(match.record),
                    }
                    for match in matches
                ]
            }
        )
    elif matches:
        call.out.matches(matches, why=why)
    else:
        call.out.say("nothing found")


@command
async def context(
    call: Call,
    query: Query,
    *,
    max_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="Size of the block at most.")
    ] = 800,
    limit: Limit = 20,
    mode: Mode = "hybrid",
    namespace: Namespace = None,
    condition: Filter = None,
    min_similarity: MinSimilarity = None,
    min_relevance: MinRelevance = None,
    all_agents: AllAgents = False,
    only_session: OnlySession = False,
) -> None:
    """Find the same, as a block of text to put before a model.

    It is escaped, fenced and labelled as data, and cut to the budget.
    """
    scope, chosen = call.scope, _mode(mode)
    meets = json_object(condition, option="--filter")
    options = recall_options(
        call, all_agents=all_agents, only_session=only_session, min_relevance=min_relevance
    )
    async with call.client() as client:
        block = await call.out.patiently(
            "Looking",
            lambda: client.context(
                query,
                scope=scope,
                max_tokens=max_tokens,
                limit=limit,
                mode=chosen,
                namespace=namespace,
                filter=meets,
                min_similarity=min_similarity,
                options=options,
            ),
        )
    if call.out.as_json:
        call.out.data(
            {
                "text": block.text,
                "tokens": block.tokens,
                "omitted": block.omitted,
                "ids": [match.record.id for match in block.matches],
            }
        )
        return
    if block.text:
        sys.stdout.write(f"{block.text}\n")  # as it is: this is for a model, not decorated
    if block.omitted:
        call.out.note(f"{block.omitted} more did not fit; raise --max-tokens")
    elif not block.text:
        call.out.note("nothing found")


@command
async def get(call: Call, record_id: RecordId, all_agents: AllAgents = False) -> None:
    """Show one memory."""
    scope = call.scope
    async with call.client() as client:
        record = await client.get(record_id, scope=scope, include_agents=all_agents)
    call.out.record(record)


@command
async def listing(
    call: Call,
    *,
    limit: Limit = 20,
    cursor: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Where the page before ended.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", metavar=FLAG, help="All of it, page by page.")
    ] = False,
    namespace: Namespace = None,
    condition: Filter = None,
) -> None:
    """List memories, of every agent and session."""
    scope = call.scope
    if everything and cursor:
        refuse("--all and --cursor exclude each other", "leave one of them out")
    meets = json_object(condition, option="--filter")
    size = 500 if everything else limit
    first = True
    async with call.client() as client:
        while True:
            page = await client.list(
                scope=scope, namespace=namespace, filter=meets, cursor=cursor, limit=size
            )
            cursor = page.cursor
            if call.out.as_json:
                for record in page.items:  # written as they come: there may be millions
                    before = '{"items": [\n' if first else ",\n"
                    sys.stdout.write(before + json.dumps(as_data(record)))
                    first = False
            else:
                call.out.records(page.items)
                first = first and not page.items
            if cursor is None or not everything:
                break
    if call.out.as_json:
        before = '{"items": [' if first else ""
        sys.stdout.write(f'{before}\n], "cursor": {json.dumps(cursor)}}}\n')
    elif first:
        call.out.say("nothing there")
    elif cursor is not None:
        call.out.note(f"there is more: --cursor {cursor}, or --all")


@command
async def count(
    call: Call,
    namespace: Namespace = None,
    condition: Filter = None,
) -> None:
    """Count memories, of every agent and session."""
    scope = call.scope
    meets = json_object(condition, option="--filter")
    async with call.client() as client:
        total = await call.out.patiently(
            "Counting", lambda: client.count(scope=scope, namespace=namespace, filter=meets)
        )
    if call.out.as_json:
        call.out.data({"count": total})
    else:
        call.out.say(str(total))

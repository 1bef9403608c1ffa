"""The verbs about what a memory once said: history, restore."""

from __future__ import annotations

from typing import Annotated

import typer

from memlane_plain.cli.options import AllAgents, Call, RecordId, command
from memlane_plain.cli.output import as_data, when

__all__ = ("history", "restore")


@command
async def history(call: Call, record_id: RecordId, all_agents: AllAgents = False) -> None:
    """Show a memory as it is and as it was, newest first."""
    scope = call.scope
    async with call.client() as client:
        versions = await client.history(record_id, scope=scope, include_agents=all_agents)
    if call.out.as_json:
        call.out.data([as_data(version) for version in versions])
        return
    for version in versions:
        call.out.say(f"{version.version}  {when(version.updated_at)} UTC  {version.source}")
        call.out.say(version.text, indent=2)


@command
async def restore(
    call: Call,
    record_id: RecordId,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="As in history.")],
    expected_version: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only if it is at this version.")
    ] = None,
    all_agents: AllAgents = False,
) -> None:
    """Make what a memory once said its next version."""
    scope = call.scope
    async with call.client() as client:
        record = await client.restore(
            record_id,
            scope=scope,
            version=version,
            expected_version=expected_version,
            include_agents=all_agents,
        )
    if call.out.as_json:
        call.out.data(as_data(record))
    else:
        call.out.say(f"version {record.version} of {record.id} says what version {version} said")

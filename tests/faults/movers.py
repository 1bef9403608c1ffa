"""What a process does for a tenant as a whole until it is killed at some statement."""

from __future__ import annotations

from typing import Final

from faults.children import Line
from faults.lives import Stage, traced
from faults.texts import open_client
from memlane.testing.fakes import HashingEmbedder

TENANT: Final = "acme"
NEW_DIMENSIONS: Final = 32

_CHECKPOINT: Final = 20


async def take_over(line: Line, path: str, statements: int) -> None:
    """Take the tenant to another model, and die by SIGKILL where the writer begins a statement."""
    stage = Stage(f"{path}.stage", statements=statements)
    async with open_client(path) as client:
        await traced(client, stage, _CHECKPOINT)
        await client.admin(TENANT).reembed(HashingEmbedder(NEW_DIMENSIONS))
    line.say("end", stage.seen)


async def forget_all(line: Line, path: str, statements: int) -> None:
    """Forget the tenant, and die likewise."""
    stage = Stage(f"{path}.stage", statements=statements)
    async with open_client(path) as client:
        await traced(client, stage, _CHECKPOINT)
        await client.admin(TENANT).forget_tenant()
    line.say("end", stage.seen)


async def sweep(line: Line, path: str, statements: int) -> None:
    """Sweep the tenant, and die likewise."""
    stage = Stage(f"{path}.stage", statements=statements)
    async with open_client(path) as client:
        await traced(client, stage, _CHECKPOINT)
        await client.admin(TENANT).sweep()
    line.say("end", stage.seen)

"""The emulator as tests hold it: a process of its own, ruled over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import anyio.to_thread

from memlane.errors import MemlaneError
from memlane.protocols import Credentials
from memlane.testing.emulator.cloud import ACCOUNT, REGION
from memlane.testing.emulator.counters import Counters, Served
from memlane.testing.emulator.ruling import BlockingEmulator, StoredVector
from memlane.testing.emulator.serving import exports

__all__ = ("Emulator",)

T = TypeVar("T")

_SECONDS: Final = 30.0


class Emulator:
    """A running emulator. Its methods can be awaited on any loop.

    Args:
        url: Where it listens.

    Attributes:
        account: Of its one account.
        admin: Credentials of the host's user, who may do everything.
        blocking: The same methods for those who wait in a thread.
        region: Its one region.
        tenant_role: ARN of a role that reads and writes `memory-<code>` in every bucket, for
            sessions whose tag `TenantID` is that code.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.account = ACCOUNT
        self.region = REGION
        self.blocking = BlockingEmulator(url)
        about = self.blocking.about()
        self.admin = Credentials(access_key=about["access_key"], secret_key=about["secret_key"])
        self.tenant_role: str = about["tenant_role"]

    @classmethod
    @contextmanager
    def launch(
        cls, *, port: int = 0, switches: Mapping[str, object] | None = None
    ) -> Generator[Emulator]:
        """Run an emulator until the block ends; it ends with this process at the latest.

        Args:
            port: Where it listens; 0 for a port that is free.
            switches: How it behaves where that is not known, also after a reset.
        """
        command = [sys.executable, "-m", "memlane.testing.emulator", "--tied", "--port", str(port)]
        for name, setting in (switches or {}).items():
            command += ["--switch", f"{name}={_said(setting)}"]
        pipe = subprocess.PIPE
        # The program is this interpreter; only switches come from the caller.
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:  # noqa: S603
            try:
                yield cls(_announced(process))
            finally:
                process.terminate()
                try:
                    process.wait(_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()

    def environment(self) -> dict[str, str]:
        """Return the variables with which AWS's clients, and memlane, find the emulator."""
        admin = self.admin
        return exports(self.url, admin.access_key, admin.secret_key, self.tenant_role)

    async def _run(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(call)

    async def reset(self) -> None:
        """Let it be as new: nothing stored, nobody but the host, no fault, the machine's time."""
        await self._run(self.blocking.reset)

    async def switch(self, **switches: object) -> None:
        """Set some of the `Switches` until the next reset."""
        await self._run(partial(self.blocking.switch, **switches))

    async def inject(self, **rule: object) -> None:
        """Let requests go wrong; the members are those of `FaultRule`."""
        await self._run(partial(self.blocking.inject, **rule))

    async def clear_faults(self) -> None:
        """Let all go well again."""
        await self._run(self.blocking.clear_faults)

    async def advance(self, seconds: float) -> None:
        """Move its clock on."""
        await self._run(partial(self.blocking.advance, seconds))

    async def set_clock(self, at: datetime) -> None:
        """Set its clock, which goes on from there."""
        await self._run(partial(self.blocking.set_clock, at))

    async def disconnect(self) -> None:
        """End every connection that stands, as a service does with idle ones."""
        await self._run(self.blocking.disconnect)

    async def counters(self, *, reset: bool = False) -> Counters:
        """Return what was counted since the last reset, and perhaps begin again."""
        return await self._run(partial(self.blocking.counters, reset=reset))

    async def requests(self) -> list[Served]:
        """Return the last 10,000 requests that were answered, in order."""
        return await self._run(self.blocking.requests)

    async def put_user(self, name: str, **user: Any) -> Credentials:
        """Make or replace a user: `policy`, `tags`."""
        return await self._run(partial(self.blocking.put_user, name, **user))

    async def put_role(self, name: str, **role: Any) -> str:
        """Make or replace a role and return its ARN: `trust`, `policy`, `tags`, `max_session`."""
        return await self._run(partial(self.blocking.put_role, name, **role))

    async def put_managed(self, name: str, policy: str | Mapping[str, Any]) -> str:
        """Make or replace a managed policy and return its ARN."""
        return await self._run(partial(self.blocking.put_managed, name, policy))

    async def delete_user(self, name: str) -> bool:
        """Delete a user and its key."""
        return await self._run(partial(self.blocking.delete_user, name))

    async def delete_role(self, name: str) -> bool:
        """Delete a role and with it its sessions."""
        return await self._run(partial(self.blocking.delete_role, name))

    async def create_bucket(self, bucket: str) -> None:
        """Make a vector bucket, as the host would."""
        await self._run(partial(self.blocking.create_bucket, bucket))

    async def create_index(self, bucket: str, index: str, **members: Any) -> None:
        """Make an index, as the host would; `members` are CreateIndex's, with defaults."""
        await self._run(partial(self.blocking.create_index, bucket, index, **members))

    async def drop_index(self, bucket: str, index: str) -> bool:
        """Remove an index behind everybody's back. Return whether there was one."""
        return await self._run(partial(self.blocking.drop_index, bucket, index))

    async def indexes(self) -> dict[str, dict[str, int]]:
        """Return how many vectors each index of each bucket holds."""
        return await self._run(self.blocking.indexes)

    async def vectors(self, bucket: str, index: str) -> dict[str, StoredVector]:
        """Return what an index holds, by key; empty when there is none."""
        return await self._run(partial(self.blocking.vectors, bucket, index))


def _said(setting: object) -> str:
    return setting if isinstance(setting, str) else str(setting).lower()


def _announced(process: subprocess.Popen[bytes]) -> str:
    output = process.stdout
    assert output is not None
    url: str | None = None
    for line in output:
        name, _, value = line.decode().strip().removeprefix("export ").partition("=")
        if name == "AWS_ENDPOINT_URL":
            url = value
        if name == "MEMLANE_ROLE_ARN" and url is not None:
            return url
    raise MemlaneError("the emulator did not start", remedy="run it in a terminal to see why")

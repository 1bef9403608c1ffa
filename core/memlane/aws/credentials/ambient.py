"""The credentials of the place a program runs in, found by aioboto3's own chain."""

from __future__ import annotations

import functools
from typing import Final

from memlane.aws.session import Ending, walk_chain
from memlane.protocols import Credentials
from memlane.runtime import WorkerThreads
from memlane.scope import Scope

__all__ = ("AmbientCredentials",)

_THREADS: Final = 4
"""A walk that hangs where nothing can end it, such as on a file, leaves room for later ones."""


class AmbientCredentials:
    """What aioboto3 finds: environment, profile, SSO, container or instance metadata.

    For the host. Each call walks the chain anew in a worker thread, so a profile that was edited
    or a login that was repeated is noticed, and no loop waits for a file or a metadata service.
    A walk ends with its caller, or after 30 seconds.

    Args:
        profile: The profile to use; None for the environment's, or the default.
    """

    def __init__(self, profile: str | None = None) -> None:
        self._profile = profile
        self._threads = WorkerThreads("memlane-chain", _THREADS)

    async def __call__(self, scope: Scope | None = None) -> Credentials:
        """Walk the chain.

        Raises:
            CredentialsError: It found nothing, or a link of it failed.
            MissingExtraError: The extra `aws` is not installed.
        """
        del scope
        ending = Ending()
        try:
            return await self._threads.run(
                functools.partial(walk_chain, self._profile, ending=ending)
            )
        finally:
            ending()

"""What the commands are told: their options, in one place, and what they mean."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, NoReturn, ParamSpec, cast
from urllib.parse import unquote

import anyio
import typer

from memlane import (
    MemoryClient,
    MetadataValue,
    RetrievalOptions,
    Scope,
    StoreFileError,
    ValidationError,
)
from memlane_plain.cli.output import Output
from memlane_plain.cli.transcripts import parse_moment
from memlane_plain.connection import connect_with
from memlane_plain.settings import Settings

__all__ = (
    "FLAG",
    "AllAgents",
    "Call",
    "Debug",
    "Filter",
    "Json",
    "Limit",
    "MinRelevance",
    "MinSimilarity",
    "Mode",
    "Namespace",
    "OnlySession",
    "RecordId",
    "StoreCall",
    "Url",
    "UsageError",
    "command",
    "json_object",
    "length_of_time",
    "metadata",
    "moment",
    "recall_options",
    "refuse",
    "store_command",
    "store_file",
)

P = ParamSpec("P")

_WHOSE: Final = "Whose memory"
_WHERE: Final = "Store and output"
_SQLITE: Final = "sqlite:///"

FLAG: Final = " "
"""A flag takes no value; without this, help would name a type for it."""


class UsageError(ValidationError):
    """The command line cannot be what was meant."""


def refuse(reason: str, remedy: str) -> NoReturn:
    """Raise what ends the command with one line and exit code 2."""
    raise UsageError(reason, remedy=remedy)


Tenant = Annotated[
    str | None,
    typer.Option(metavar="ID", help="The customer the user belongs to.", rich_help_panel=_WHOSE),
]
User = Annotated[
    str | None, typer.Option(metavar="ID", help="Whose memory it is.", rich_help_panel=_WHOSE)
]
Agent = Annotated[
    str | None, typer.Option(metavar="ID", help="The agent it is kept for.", rich_help_panel=_WHOSE)
]
Session = Annotated[
    str | None,
    typer.Option(metavar="ID", help="The conversation it is from.", rich_help_panel=_WHOSE),
]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The store, as sqlite:///memory.db; else MEMLANE_URL, else your data folder.",
        show_default=False,
        rich_help_panel=_WHERE,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", metavar=FLAG, help="Print JSON, for scripts.", rich_help_panel=_WHERE),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", metavar=FLAG, help="Show where an error comes from.", rich_help_panel=_WHERE
    ),
]

Namespace = Annotated[
    str | None, typer.Option(metavar="PATH", help='Only this subtree, such as "/trips/".')
]
RecordId = Annotated[str, typer.Argument(metavar="ID", help="The id that store and list print.")]
Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", metavar="JSON", help="""Only records that meet it: '{"city": "Oslo"}'."""
    ),
]
Limit = Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="At most so many.")]
MinSimilarity = Annotated[
    float | None,
    typer.Option(metavar="N", min=0.0, max=1.0, help="Leave out what is further away."),
]
MinRelevance = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        min=0.0,
        max=1.0,
        help="Find nothing when no match is so relevant; 0.5 is fair.",
    ),
]
Mode = Annotated[
    str,
    typer.Option(metavar="HOW", help="hybrid, vector (meaning alone) or text (words alone)."),
]
AllAgents = Annotated[
    bool, typer.Option("--all-agents", metavar=FLAG, help="Records of every agent of the user.")
]
OnlySession = Annotated[
    bool, typer.Option("--only-session", metavar=FLAG, help="Only records of --session.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCall:
    """What every command on a store is told, and what it answers with.

    Args:
        settings: The store, from `--url` or the environment.
        out: Where the answer goes.
    """

    settings: Settings
    out: Output

    @property
    def file(self) -> Path | None:
        """The store's file, where it is one."""
        return store_file(self.settings.url)

    @property
    def made(self) -> bool:
        """Whether there is a store, for all that can be told without opening it."""
        return self.file is None or self.file.exists()

    def check_made(self) -> None:
        """Refuse a store that is not there.

        Nothing but writing makes one: the answer of a mistyped path would be "nothing there", and
        a receipt for it would be worse.

        Raises:
            StoreFileError: There is no store.
        """
        if not self.made:
            raise StoreFileError(
                f"there is no store at {self.file}", remedy="store something first, or check --url"
            )

    def client(self, *, making: bool = False) -> MemoryClient:
        """Return a client for the store.

        Args:
            making: The store is made if there is none.

        Raises:
            StoreFileError: There is no store.
        """
        client = connect_with(self.settings)
        if not making:
            self.check_made()
        return client


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(StoreCall):
    """What every data command is told besides: whose memory it is about.

    Args:
        tenant: As given on the command line, and nowhere else.
        user: As given on the command line, and nowhere else.
        agent: As given.
        session: As given.
    """

    tenant: str | None
    user: str | None
    agent: str | None
    session: str | None

    @property
    def scope(self) -> Scope:
        """The scope the command line names.

        Raises:
            UsageError: It names no user, or a tenant is missing or one too many.
        """
        if self.user is None:
            refuse("no user is named", "give --user")
        return self.scope_of(self.user, tenant=self.tenant)

    def scope_of(
        self,
        user: str,
        *,
        tenant: str | None,
        agent: str | None = None,
        session: str | None = None,
    ) -> Scope:
        """Return a scope that this store's tenancy allows; the command line's ids win."""
        tenancy = self.settings.tenancy
        if tenancy in {"required", "per-user"} and tenant is None:
            refuse(f"tenancy is {tenancy!r} and no tenant is named", "give --tenant")
        if tenancy == "none" and tenant is not None:
            refuse("tenancy is 'none' and a tenant is named", "leave --tenant out")
        return Scope(
            user,
            tenant=tenant,
            agent=agent if self.agent is None else self.agent,
            session=session if self.session is None else self.session,
        )


def store_file(url: str) -> Path | None:
    """Return the file a url names, if it names one."""
    path = unquote(url.removeprefix(_SQLITE))
    return Path(path) if url.startswith(_SQLITE) and path else None


def command(function: Callable[Concatenate[Call, P], Awaitable[None]]) -> Callable[..., None]:
    """Give an async function the options that every data command has, and a loop to run on."""
    return _command(function, _scoped)


def store_command(
    function: Callable[Concatenate[StoreCall, P], Awaitable[None]],
) -> Callable[..., None]:
    """Do as `command` does for a function that is about a store, and nobody's scope."""
    return _command(function, _placed)


def _command(
    function: Callable[..., Awaitable[None]], call_of: Callable[..., StoreCall]
) -> Callable[..., None]:
    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    shared = inspect.signature(call_of, eval_str=True).parameters

    @wraps(function)
    def run(**given: Any) -> None:
        call = call_of(**{name: given.pop(name) for name in shared})
        anyio.run(lambda: function(call, **given))

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in [*own, *shared.values()]
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    del run.__wrapped__  # its signature is not the command's
    return run


def _placed(*, url: Url = None, as_json: Json = False, debug: Debug = False) -> StoreCall:
    del debug  # read before any option is parsed, so that it works for mistakes in these, too
    return StoreCall(settings=Settings.from_environment(url=url), out=Output(as_json=as_json))


def _scoped(
    *,
    tenant: Tenant = None,
    user: User = None,
    agent: Agent = None,
    session: Session = None,
    url: Url = None,
    as_json: Json = False,
    debug: Debug = False,
) -> Call:
    place = _placed(url=url, as_json=as_json, debug=debug)
    return Call(
        tenant=tenant,
        user=user,
        agent=agent,
        session=session,
        settings=place.settings,
        out=place.out,
    )


def recall_options(
    call: Call, *, all_agents: bool, only_session: bool, min_relevance: float | None
) -> RetrievalOptions:
    """Return how recall differs from the default."""
    if only_session and call.session is None:
        refuse("--only-session needs a session", "give --session")
    return RetrievalOptions(
        include_agents=all_agents, only_session=only_session, min_relevance=min_relevance
    )


_TTL: Final = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def length_of_time(text: str | None) -> timedelta | None:
    """Return the length of time that "30d" or "12h" means."""
    if text is None:
        return None
    found = _TTL.fullmatch(text.strip())
    if found is None:
        refuse(f"--ttl {text!r} is not a length of time", "write it as 90s, 45m, 12h, 30d or 8w")
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        refuse(f"--ttl {text!r} is too long", "leave --ttl out to keep it for ever")


def moment(text: str | None, *, option: str = "--occurred-at") -> datetime | None:
    """Return the moment an ISO 8601 text names, UTC unless it says another zone."""
    if text is None:
        return None
    try:
        return parse_moment(text)
    except ValueError:
        refuse(
            f"{option} {text!r} is not an ISO 8601 time",
            "write it as 2026-03-14 or 2026-03-14T09:30:00Z",
        )


def metadata(pairs: Sequence[str]) -> dict[str, MetadataValue]:
    """Return what `key=value` options say; a value that is JSON is taken as JSON."""
    found: dict[str, MetadataValue] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            refuse(f"--meta {pair!r} has no key and value", "write it as --meta city=Oslo")
        if key in found:
            refuse(f"--meta {key!r} is given twice", "write a list as --meta 'cities=[\"Oslo\"]'")
        try:
            found[key] = json.loads(value)
        except (ValueError, RecursionError):
            found[key] = value
    return found


def json_object(text: str | None, *, option: str) -> dict[str, Any] | None:
    """Return the JSON object an option holds."""
    if text is None:
        return None
    example = f"""write it as {option} '{{"city": "Oslo"}}'"""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as exc:
        where = f" at character {exc.pos + 1}" if isinstance(exc, json.JSONDecodeError) else ""
        raise UsageError(f"{option} is not JSON{where}", remedy=example) from exc
    if not isinstance(value, dict):
        refuse(f"{option} is not a JSON object", example)
    return cast("dict[str, Any]", value)

"""What is not known of AWS, and what differs between accounts, as settings of the emulator."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from memlane.errors import ValidationError

__all__ = ("Switches",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """How the emulator behaves where AWS was not observed, or where there are two AWSes.

    Defaults are what was observed; where nothing was, the one that more clients fail under. The
    tags are those of docs/emulator.md.

    Args:
        signatures: Verify signatures and credentials. Without, everybody is the administrator.
        signature_seconds: How far a signature's date may be off the server's clock; 0 for any.
        clock_skew: Seconds the server's clock is ahead of true time, in `Date` and in signatures.
        authorization_first: Ask the policies before looking whether a resource exists [?].
        error_header: The name of the header with an error's code, as it is spelled [?].
        oversize_resets: Reset the connection of a body above 20 MiB; observed at times [E].
        legacy_buckets: New buckets are of the time before modes: CLASSIC, both modes allowed [D].
        classic_pool: Neighbours a CLASSIC index looks at before the filter drops some [?].
        create_losers_fail: One in five that lose a race to create an index hears of an internal
            error instead of a conflict [E].
        duplicate_keys: What two vectors of one key in a put do: the put is refused, or the last
            of them stays [?].
        zero_euclidean: Whether an index of metric euclidean takes a vector of zeros [?].
        euclidean: Whether its distance is the root, or the square [?].
        identical_distance: The least distance reported; 4.77e-06 was seen for a vector that is
            the query [B].
        ne_matches_missing: Whether $ne and $nin hold for vectors that lack the field [?].
        ne_on_lists: Whether $ne and $nin hold for a list if none of its values equals the operand,
            or if any differs [?].
        in_on_lists: Whether $in looks into lists, as $eq does [?].
        numbers: The precision in which numbers of metadata are compared [?].
        list_counts: What fills the 1 MB of a page of a listing: all that is stored of a vector,
            or what of it is returned [?].
        rates: Refuse writes over 1,000 requests or 2,500 vectors a second an index, by the
            machine's own clock. Off by default: how fast a machine is decides no test.
        recall: Lose neighbours as an index was measured to lose them [B]; the same query loses
            the same.
        recall_seed: Which neighbours are lost.
        query_token_seconds: How long the next page of a query can be had; "several minutes" [D].
        backfill_seconds: How long the text of an existing index takes to become searchable [?].
        text_stems: Whether English text is compared by word stems [?].
        rrf_constant: The constant of reciprocal rank fusion [?].
        s3vectors_auth_errors: Whether S3 Vectors names refusals of a signature as JSON services
            do, or as S3 does [?].
        tag_session_needs_identity: Whether the caller's own policies must allow sts:TagSession
            within one account too [?].
        cohere_single_type: How Cohere answers when one embedding type is asked for: the
            documentation says both [D].
        unknown_model: What Bedrock answers to a model that does not exist [?].
    """

    signatures: bool = True
    signature_seconds: float = 900.0
    clock_skew: float = 0.0
    authorization_first: bool = True
    error_header: Literal["x-amzn-ErrorType", "x-amzn-errortype"] = "x-amzn-ErrorType"
    oversize_resets: bool = False
    legacy_buckets: bool = False
    classic_pool: int = 100
    create_losers_fail: bool = False
    duplicate_keys: Literal["refused", "last"] = "refused"
    zero_euclidean: bool = True
    euclidean: Literal["squared", "root"] = "squared"
    identical_distance: float = 4.77e-06
    ne_matches_missing: bool = False
    ne_on_lists: Literal["none_equals", "any_differs"] = "none_equals"
    in_on_lists: bool = True
    numbers: Literal["float64", "float32"] = "float64"
    list_counts: Literal["stored", "returned"] = "stored"
    rates: bool = False
    recall: Literal["exact", "measured"] = "exact"
    recall_seed: int = 0
    query_token_seconds: float = 300.0
    backfill_seconds: float = 0.0
    text_stems: bool = False
    rrf_constant: int = 60
    s3vectors_auth_errors: Literal["json", "s3"] = "json"
    tag_session_needs_identity: bool = False
    cohere_single_type: Literal["object", "list"] = "object"
    unknown_model: Literal["ValidationException", "ResourceNotFoundException"] = (
        "ValidationException"
    )

    def changed(self, changes: Mapping[str, object]) -> Switches:
        """Return these switches with some set anew.

        Raises:
            ValidationError: There is no such switch, or it has no such setting.
        """
        hints = get_type_hints(Switches)
        for name, value in changes.items():
            if name not in hints:
                raise ValidationError(
                    f"the emulator has no switch {name!r}",
                    remedy=f"set one of {', '.join(sorted(hints))}",
                )
            if not _fits(hints[name], value):
                raise ValidationError(
                    f"switch {name!r} has no setting {value!r}", remedy=_settings(hints[name])
                )
        return dataclasses.replace(self, **dict[str, Any](changes))

    def read(self, settings: Mapping[str, str]) -> Switches:
        """Return these switches with some set from text, such as a command line's.

        Raises:
            ValidationError: As `changed`.
        """
        changes: dict[str, object] = {}
        for name, text in settings.items():
            try:
                changes[name] = json.loads(text)
            except ValueError:
                changes[name] = text
        return self.changed(changes)


def _fits(hint: Any, value: object) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    return isinstance(value, int | float) if hint is float else isinstance(value, hint)


def _settings(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"set one of {', '.join(map(repr, get_args(hint)))}"
    return f"set a {hint.__name__}"

"""How fast to ask: known limits are kept to beforehand, throttling is reacted to afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from memlane.aws.wire import Lane

__all__ = ("LOOK_SECONDS", "Pace", "Track")

KEPT_TRACKS: Final = 4096
# What a limit allows at once, as seconds of its rate: AWS counts over a second.
BURST_SECONDS: Final = 0.25
# So many refusals in a row, and no success, mean that there is no capacity at all. With 30 % of
# requests refused at random, that happens once in two million.
SHUT_AFTER: Final = 12
# The same over all lanes: then a lane's own first refusal is enough.
ALL_SHUT_AFTER: Final = 24
FIRST_PROBE_SECONDS: Final = 0.05
PROBE_SECONDS: Final = 1.0
# How often those who wait for a probe's outcome look.
LOOK_SECONDS: Final = 0.2
# A rate is cut only when most is refused: up to there, asking less often earns nothing.
WINDOW_SECONDS: Final = 0.25
WINDOW_ANSWERS: Final = 40
MOSTLY: Final = 0.5
RARELY: Final = 0.1
HEADROOM: Final = 1.1
SLOW_GROWTH: Final = 1.02
FAST_GROWTH: Final = 1.25
FORGET_ABOVE: Final = 4.0


class _Limit:
    """A rate that is kept to by reserving: the debt of a large request delays those after it."""

    __slots__ = ("burst", "interval", "until")

    def __init__(self, rate: float, burst: float = BURST_SECONDS) -> None:
        self.interval = 1.0 / rate
        self.burst = burst
        # When everything that was reserved will have been used, at this rate.
        self.until = 0.0

    def wait(self, now: float) -> float:
        return self.until - self.burst - now

    def reserve(self, amount: float, now: float) -> None:
        self.until = max(self.until, now) + amount * self.interval


class Track:
    """What is known of one lane. Touched under its pace's lock."""

    __slots__ = (
        "cut", "granted", "limits", "name", "refused", "refused_in_row", "resume_at", "shut",
        "since",
    )  # fmt: skip

    def __init__(self, lane: Lane, now: float) -> None:
        self.name = lane.name
        self.limits = (
            _Limit(lane.requests) if lane.requests else None,
            _Limit(lane.weight) if lane.weight else None,
        )
        self.cut: _Limit | None = None
        self.shut = False
        self.refused_in_row = 0
        self.resume_at = 0.0
        self.since = now
        self.granted = 0
        self.refused = 0


class Pace:
    """The pace of one client; shared by all its callers on every loop.

    Three things hold a request back: the limits of its lane, a cut rate while most of the lane's
    requests are refused, and, once everything is, a probe now and then for the whole client.

    Args:
        now: Seconds that never run backwards.
        random: 0..1.
    """

    def __init__(self, now: Callable[[], float], random: Callable[[], float]) -> None:
        self._now = now
        self._random = random
        self._lock = threading.Lock()
        self._tracks: dict[str, Track] = {}
        self._refused_in_row = 0
        self._probe_at = 0.0
        self._probe_every = FIRST_PROBE_SECONDS

    def track(self, lane: Lane) -> Track:
        """Return what is known of a lane."""
        track = self._tracks.get(lane.name)
        if track is None:
            with self._lock:
                if len(self._tracks) >= KEPT_TRACKS:
                    self._forget_half()
                track = self._tracks.setdefault(lane.name, Track(lane, self._now()))
        return track

    def admit(self, track: Track, weight: float, until: float) -> tuple[float, bool]:
        """Ask to send a request.

        Args:
            track: Its lane's.
            weight: What it weighs there.
            until: The latest moment at which it is of use.

        Returns:
            Seconds to wait, and whether to send it then: True, its share is reserved; False,
            ask again. Waiting would end after `until`: nothing was reserved.
        """
        with self._lock:
            now = self._now()
            if track.shut:
                return self._probe(track, now)
            wait = track.resume_at - now
            by_request, by_weight = track.limits
            cut = track.cut
            # Spelt out: this is on every request's way, and a loop doubles its cost.
            if by_request is not None and (late := by_request.wait(now)) > wait:
                wait = late
            if by_weight is not None and (late := by_weight.wait(now)) > wait:
                wait = late
            if cut is not None and (late := cut.wait(now)) > wait:
                wait = late
            if wait <= 0.0:
                wait = 0.0
            elif now + wait > until:
                return wait, False
            if by_request is not None:
                by_request.reserve(1.0, now)
            if by_weight is not None:
                by_weight.reserve(weight, now)
            if cut is not None:
                cut.reserve(1.0, now)
            return wait, True

    def answered(self, track: Track) -> None:
        """Count an answer that was no refusal for want of capacity."""
        with self._lock:
            self._refused_in_row = track.refused_in_row = 0
            if track.shut:
                track.shut = False
                track.resume_at = 0.0
                self._probe_every = FIRST_PROBE_SECONDS
                self._begin_window(track, self._now())
            track.granted += 1
            if track.granted + track.refused >= WINDOW_ANSWERS and (track.refused or track.cut):
                self._judge(track)

    def refused(self, track: Track, retry_after: float | None = None) -> None:
        """Count a refusal for want of capacity.

        Args:
            track: The lane's.
            retry_after: Seconds the service wants to be left alone.
        """
        with self._lock:
            now = self._now()
            self._refused_in_row += 1
            track.refused_in_row += 1
            track.refused += 1
            if retry_after:
                track.resume_at = max(track.resume_at, now + retry_after)
            limit = SHUT_AFTER if self._refused_in_row < ALL_SHUT_AFTER else 1
            if track.shut:
                return
            if track.refused_in_row >= limit:
                track.shut = True
                self._probe_at = max(self._probe_at, now + self._probe_every)
            elif track.granted + track.refused >= WINDOW_ANSWERS:
                self._judge(track)

    def after_fork(self) -> None:
        """Replace the lock: who holds it may not exist in this process."""
        self._lock = threading.Lock()

    def _probe(self, track: Track, now: float) -> tuple[float, bool]:
        at = max(self._probe_at, track.resume_at)
        if now >= at:
            # Never less than the interval apart: the service sees one a second in the long run.
            self._probe_at = now + self._probe_every * (1.0 + 0.25 * self._random())
            self._probe_every = min(PROBE_SECONDS, 2.0 * self._probe_every)
            return 0.0, True
        # Spread, so that those who wait do not all ask at once when it is over.
        return max(at - now, LOOK_SECONDS * (0.5 + 0.5 * self._random())), False

    def _judge(self, track: Track) -> None:
        now = self._now()
        elapsed = now - track.since
        if elapsed < WINDOW_SECONDS:
            return
        share = track.refused / (track.granted + track.refused)
        rate = track.granted / elapsed
        cut = track.cut
        if share > MOSTLY:
            self._cut(track, max(HEADROOM * rate, 1.0), now)
        elif cut is not None:
            grown = (FAST_GROWTH if share < RARELY else SLOW_GROWTH) / cut.interval
            if grown > FORGET_ABOVE * rate:
                track.cut = None
            else:
                cut.interval = 1.0 / grown
        self._begin_window(track, now)

    def _cut(self, track: Track, rate: float, now: float) -> None:
        if track.cut is None:
            track.cut = _Limit(rate, burst=0.0)
        track.cut.interval = 1.0 / rate
        track.cut.until = now

    def _begin_window(self, track: Track, now: float) -> None:
        track.since = now
        track.granted = track.refused = 0

    def _forget_half(self) -> None:
        for name in list(self._tracks)[: KEPT_TRACKS // 2]:
            del self._tracks[name]

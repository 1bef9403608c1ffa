"""How fast to ask: known limits are kept to beforehand, throttling is reacted to afterwards."""

from __future__ import annotations

import math
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
# So many, when the service says for how long: it means more than the one request.
SHUT_AFTER_TOLD: Final = 6
# The same over all lanes of a service: then a lane's own first refusal is enough.
ALL_SHUT_AFTER: Final = 24
FIRST_PROBE_SECONDS: Final = 0.05
PROBE_SECONDS: Final = 1.0
# How often those who wait for a probe's outcome look, and over how long they are spread.
LOOK_SECONDS: Final = 0.2
LONGEST_LOOK: Final = 0.5
# A rate is cut only when most is refused: up to there, asking less often earns nothing.
WINDOW_SECONDS: Final = 0.25
WINDOW_ANSWERS: Final = 40
MOSTLY: Final = 0.5
RARELY: Final = 0.1
HEADROOM: Final = 1.1
SLOW_GROWTH: Final = 1.02
FAST_GROWTH: Final = 1.25
FORGET_ABOVE: Final = 4.0
# So much less must have been asked before what it did to the answers says anything, and for so
# long it is believed that asking less earns less.
NOTABLY: Final = 0.8
UNCUT_SECONDS: Final = 10.0


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


class _Probes:
    """When to ask next where everything is refused: rarer and rarer, down to once a second."""

    __slots__ = ("at", "every", "refused_in_row")

    def __init__(self) -> None:
        self.at = 0.0
        self.every = FIRST_PROBE_SECONDS
        self.refused_in_row = 0

    def postpone(self, now: float) -> None:
        self.at = max(self.at, now + self.every)

    def count(self, now: float, spread: float) -> None:
        # Never less than the interval apart: the service sees one a second in the long run.
        self.at = now + self.every * (1.0 + 0.25 * spread)
        self.every = min(PROBE_SECONDS, 2.0 * self.every)

    def end(self) -> None:
        self.at = 0.0
        self.every = FIRST_PROBE_SECONDS


class Track:
    """What is known of one lane. Touched under its pace's lock."""

    __slots__ = (
        "asked_before", "cut", "cut_after", "granted", "granted_before", "limits", "name",
        "probes", "refused", "resume_at", "service", "shut", "since",
    )  # fmt: skip

    def __init__(self, lane: Lane, service: _Probes, now: float) -> None:
        self.name = lane.name
        self.service = service
        self.probes = _Probes()
        self.limits = (
            _Limit(lane.requests) if lane.requests else None,
            _Limit(lane.weight) if lane.weight else None,
        )
        self.cut: _Limit | None = None
        # The rates when it was cut last, and until when it is not cut again.
        self.asked_before = self.granted_before = 0.0
        self.cut_after = 0.0
        self.shut = False
        self.resume_at = 0.0
        self.since = now
        self.granted = 0
        self.refused = 0


class Pace:
    """The pace of one client; shared by all its callers on every loop.

    Three things hold a request back: the limits of its lane, a cut rate while most of the lane's
    requests are refused, and, once everything is, a probe now and then: of the lane while the
    service answers others, else of the whole service.

    Args:
        now: Seconds that never run backwards.
        random: 0..1.
    """

    def __init__(self, now: Callable[[], float], random: Callable[[], float]) -> None:
        self._now = now
        self._random = random
        self._lock = threading.Lock()
        self._tracks: dict[str, Track] = {}
        self._services: dict[str, _Probes] = {}

    def track(self, lane: Lane, service: str = "") -> Track:
        """Return what is known of a lane of a service."""
        track = self._tracks.get(lane.name)
        if track is None:
            with self._lock:
                if len(self._tracks) >= KEPT_TRACKS:
                    self._forget_half()
                probes = self._services.setdefault(service, _Probes())
                track = self._tracks.setdefault(lane.name, Track(lane, probes, self._now()))
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
                return self._probe(track, now, until)
            wait = 0.0
            by_request, by_weight = track.limits
            cut = track.cut
            # Spelt out: this is on every request's way, and a loop doubles its cost.
            if by_request is not None and (late := by_request.wait(now)) > wait:
                wait = late
            if by_weight is not None and (late := by_weight.wait(now)) > wait:
                wait = late
            if cut is not None and (late := cut.wait(now)) > wait:
                wait = late
            if wait > 0.0 and now + wait > until:
                return wait, False
            if by_request is not None:
                by_request.reserve(1.0, now)
            if by_weight is not None:
                by_weight.reserve(weight, now)
            if cut is not None:
                cut.reserve(1.0, now)
            return wait, True

    def give_back(self, track: Track, weight: float) -> None:
        """Take back a reservation whose turn has not come."""
        with self._lock:
            by_request, by_weight = track.limits
            if by_request is not None:
                by_request.reserve(-1.0, 0.0)
            if by_weight is not None:
                by_weight.reserve(-weight, 0.0)
            if track.cut is not None:
                track.cut.reserve(-1.0, 0.0)

    def answered(self, track: Track) -> None:
        """Count an answer that was no refusal for want of capacity."""
        with self._lock:
            service = track.service
            if service.refused_in_row >= ALL_SHUT_AFTER:
                # From now on each of its lanes finds out for itself.
                service.end()
            service.refused_in_row = track.probes.refused_in_row = 0
            if track.shut:
                track.shut = False
                track.resume_at = 0.0
                track.probes.end()
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
            service, probes = track.service, track.probes
            service.refused_in_row += 1
            probes.refused_in_row += 1
            track.refused += 1
            enough = SHUT_AFTER_TOLD if retry_after else SHUT_AFTER
            if service.refused_in_row >= ALL_SHUT_AFTER:
                enough = 1
            if probes.refused_in_row >= enough and retry_after:
                track.resume_at = max(track.resume_at, now + retry_after)
            if track.shut:
                return
            if probes.refused_in_row >= enough:
                track.shut = True
                probes.postpone(now)
                service.postpone(now)
            elif track.granted + track.refused >= WINDOW_ANSWERS:
                self._judge(track)

    def after_fork(self) -> None:
        """Replace the lock: who holds it may not exist in this process."""
        self._lock = threading.Lock()

    def _probe(self, track: Track, now: float, until: float) -> tuple[float, bool]:
        service, probes = track.service, track.probes
        nothing_passes = service.refused_in_row >= ALL_SHUT_AFTER
        at = max(probes.at, track.resume_at)
        if nothing_passes:
            at = max(at, service.at)
        spread = self._random()
        if now >= at:
            probes.count(now, spread)
            if nothing_passes:
                service.count(now, spread)
            return 0.0, True
        if at > until:
            return at - now, False
        # Spread, so that those who wait do not all ask at once when it is over, and soon, for
        # another's success may end the waiting.
        return min(at - now, LONGEST_LOOK) + LOOK_SECONDS * spread, False

    def _judge(self, track: Track) -> None:
        now = self._now()
        elapsed = now - track.since
        if elapsed < WINDOW_SECONDS:
            return
        asked = (track.granted + track.refused) / elapsed
        rate = track.granted / elapsed
        share = track.refused / (track.granted + track.refused)
        cut = track.cut
        if share > MOSTLY:
            if cut is not None and self._was_in_vain(track, asked, rate):
                track.cut = None
                track.cut_after = now + UNCUT_SECONDS
            elif now >= track.cut_after:
                self._cut(track, max(HEADROOM * rate, 1.0), now)
                track.asked_before, track.granted_before = asked, rate
        elif cut is not None:
            grown = (FAST_GROWTH if share < RARELY else SLOW_GROWTH) / cut.interval
            if grown > FORGET_ABOVE * rate:
                track.cut = None
            else:
                cut.interval = 1.0 / grown
        self._begin_window(track, now)

    def _was_in_vain(self, track: Track, asked: float, granted: float) -> bool:
        """Return whether fewer were served because fewer were asked: it refuses at random."""
        less = asked / track.asked_before
        # Served alike whatever is asked, it would be 1; at random, `less`.
        return less < NOTABLY and granted < track.granted_before * math.sqrt(less)

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

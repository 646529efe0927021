"""What a stage says of itself: counts since its start and its last error. For status; the account never uses it."""

from collections.abc import Hashable

from pipeline.clock import Clock


class Counters:
    """Received, handled, failed and dead, in events."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.received = 0
        self.handled = 0
        self.failed = 0
        self.dead = 0
        self.paused: dict[str, str] = {}  #: destination → why somebody has to look at it
        self.waiting = ""  #: for what the whole stage, or a partition of it, waits until somebody has put it right
        self.last_error = ""
        self.last_error_ms = 0
        self._moved: dict[Hashable, float] = {}

    def alive(self, loop: Hashable = None) -> None:
        """This loop of the stage went round."""
        self._moved[loop] = self._clock.monotonic()

    def ended(self, loop: Hashable = None) -> None:
        """This loop is over: nothing is expected of it any more."""
        self._moved.pop(loop, None)

    @property
    def quiet_s(self) -> float:
        """Seconds for which some loop has not gone round; 0 when there is none."""
        return self._clock.monotonic() - min(self._moved.values()) if self._moved else 0.0

    def error(self, text: str) -> None:
        """Something failed that is tried again or set aside."""
        self.failed += 1
        self.last_error = text
        self.last_error_ms = self._clock.now_ms()

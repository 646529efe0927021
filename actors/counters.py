"""What a stage says of itself: counts since its start and its last error. For status; the account never uses it."""

from pipeline.clock import Clock


class Counters:
    """Received, handled, failed and dead, in events."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.received = 0
        self.handled = 0
        self.failed = 0
        self.dead = 0
        self.last_error = ""
        self.last_error_ms = 0
        self.moved = clock.monotonic()  #: when the loop last went round

    def alive(self) -> None:
        """The loop went round."""
        self.moved = self._clock.monotonic()

    def error(self, text: str) -> None:
        """Something failed that is tried again or set aside."""
        self.failed += 1
        self.last_error = text
        self.last_error_ms = self._clock.now_ms()

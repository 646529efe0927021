"""Every error Rayfold raises on purpose, grouped by what the caller does about it.

RayfoldError
├── Retry                 try the same thing again later
│   ├── LogUnavailable    the log cannot be reached, or an append's outcome is unknown
│   │   └── LogFull       there is no room on the log's disk
│   ├── Undigested        a record made the fold fail; open again, then it is set aside
│   ├── StoreUnavailable  documents cannot be saved or read just now
│   │   └── Incomplete    documents that were saved are not there
│   ├── DefinitionsUnavailable
│   └── Overtaken         a definition was changed by somebody else meanwhile; read it again
├── Reject                this input will never be accepted; answer its sender
│   ├── Malformed         wrong shape or value; names the field
│   ├── TooLarge
│   ├── SourceRefused     the source is unknown, disabled or of another kind
│   ├── NotFound
│   └── Conflict
└── Stop                  this owner or process must not go on
    ├── Fenced            a newer writer has opened this partition
    ├── UnknownFormat     data written by a newer Rayfold
    ├── Disordered        a sequence number fell: the log is not what was written
    └── Misconfigured     settings, data folder or permissions forbid to start
"""


class RayfoldError(Exception):
    """Base of all errors raised on purpose; its text is one sentence: what, why, what to do."""


class Retry(RayfoldError):
    """The same call may succeed later; nothing is known to be lost."""

    #: Seconds after which trying again makes sense.
    retry_after_s: float = 1.0


class LogUnavailable(Retry):
    """The log could not be reached, or it is unknown whether an append was stored."""


class LogFull(LogUnavailable):
    """The log's disk has no room left; nothing was appended."""

    retry_after_s = 5.0


class Undigested(Retry):
    """A record made the fold fail half-way: all state is dropped, and on the next pass the record is set aside."""


class StoreUnavailable(Retry):
    """The document store could not answer; nothing may be concluded from that."""


class Incomplete(StoreUnavailable):
    """The document store has lost what it had confirmed: restore it before anything is concluded from it."""


class DefinitionsUnavailable(Retry):
    """The definitions database could not answer."""


class Overtaken(Retry):
    """The definition is no longer the one that was read: nothing was changed."""


class Reject(RayfoldError):
    """The input itself is refused; sending it again unchanged will be refused again."""


class Malformed(Reject):
    """The input has the wrong shape or a value out of bounds.

    `field` is the path of the culprit, such as ``events[0].type``; empty when the whole input is meant.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class TooLarge(Reject):
    """The input exceeds a configured limit."""


class SourceRefused(Reject):
    """The event source is unknown, disabled, or not allowed at this endpoint."""


class NotFound(Reject):
    """There is nothing under that name."""


class Conflict(Reject):
    """The change contradicts what is stored."""


class Stop(RayfoldError):
    """Going on would lose or double data; give up ownership or exit."""


class Fenced(Stop):
    """A newer writer has opened this partition; nothing was appended."""


class UnknownFormat(Stop):
    """The data carries a format number that this version cannot read."""


class Disordered(Stop):
    """Sequence numbers fell; the log does not hold what was written to it."""


class Misconfigured(Stop):
    """Settings, data folder or permissions forbid to start."""

"""Where the documents of an installation lie on Elasticsearch: what its adapter is opened with."""

from dataclasses import dataclass, field
from typing import Literal

TimePartition = Literal["day", "month", "year"]


@dataclass(frozen=True)
class ElasticAddress:
    """One installation's share of a cluster: the indices whose names begin with its prefix."""

    url: str  #: http://host:9200 or https://…; several hosts separated by commas
    username: str = ""
    password: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)  #: as Elasticsearch gives it, encoded; wins over the password
    ca_file: str = ""  #: whom to trust with https; empty: whom the system trusts
    prefix: str = ""  #: several installations share a cluster by it
    time_partition: TimePartition = "month"  #: what one index of events spans; never changes
    refresh_interval: str = "10s"  #: after what time a search sees what was saved
    replicas: int = 1
    profile_shards: int = 2  #: of the indices that are never cut by time
    shards: int = 1  #: of every other index
    dedup_days: int = 7  #: how far back a repeat of an event is recognised
    request_timeout_s: float = 30.0

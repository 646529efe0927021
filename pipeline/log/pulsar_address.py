"""Where a log on Pulsar lives: what its adapter is opened with."""

from dataclasses import dataclass, field

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class PulsarAddress:
    """One installation's share of a broker: the topics of a namespace whose names begin with its prefix."""

    url: str  #: pulsar://host:6650 or pulsar+ssl://host:6651; several hosts separated by commas
    admin_url: str  #: http:// or https://, of any broker
    tenant: str = "rayfold"
    namespace: str = "system"
    prefix: str = ""  #: several installations share a namespace by it
    token: str = field(default="", repr=False)
    ca_file: str = ""  #: whom to trust with TLS; empty: public authorities
    partitions: int = 16
    retention_ms: int = 7 * _DAY_MS  #: for how long the broker keeps what all groups have done

    def topic(self, topic: str) -> str:
        """As the client calls the partitioned topic."""
        return f"persistent://{self.tenant}/{self.namespace}/{self.prefix}{topic}"

    def partition(self, topic: str, partition: int) -> str:
        """As the client calls one partition."""
        return f"{self.topic(topic)}-partition-{partition}"

    def path(self, topic: str, partition: int | None = None) -> str:
        """As the admin API calls the topic or one partition."""
        name = self.topic(topic) if partition is None else self.partition(topic, partition)
        return name.replace("persistent://", "persistent/", 1)

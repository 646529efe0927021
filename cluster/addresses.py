"""Where the servers of an installation are, as the adapters want to know it."""

from cluster.settings import Settings
from pipeline.log.pulsar_address import PulsarAddress


def pulsar_address(settings: Settings) -> PulsarAddress:
    return PulsarAddress(
        url=settings.log,
        admin_url=settings.pulsar_admin,
        tenant=settings.pulsar_tenant,
        namespace=settings.pulsar_namespace,
        prefix=settings.prefix,
        token=settings.pulsar_token,
        ca_file=settings.pulsar_ca_file,
        partitions=settings.partitions,
        retention_ms=settings.retention_ms,
    )

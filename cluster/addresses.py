"""Where the servers of an installation are, as the adapters want to know it."""

from cluster.settings import Settings
from pipeline.log.pulsar_address import PulsarAddress
from pipeline.stores.elastic_address import ElasticAddress


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


def elastic_address(settings: Settings) -> ElasticAddress:
    return ElasticAddress(
        url=settings.documents,
        username=settings.documents_username,
        password=settings.documents_password,
        api_key=settings.documents_api_key,
        ca_file=settings.documents_ca_file,
        prefix=settings.prefix,
        time_partition=settings.documents_by,
        refresh_interval=settings.documents_refresh,
        replicas=settings.documents_replicas,
        dedup_days=settings.dedup_days,
    )

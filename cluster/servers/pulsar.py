"""Apache Pulsar as one process: broker, bookie and metadata."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from cluster.servers import place
from cluster.servers.journal import repair
from cluster.servers.server import Server

#: A healthy start logs at most three such lines; a livelock of the bookie's registration hundreds a second, for ever.
_LIVELOCK = b"was invalidated"
_LIVELOCK_LINES = 50
_DOUBTFUL_LINES = 3

_CONFIGURATION = {
    "clusterName": "standalone",
    "bindAddress": "127.0.0.1",
    "advertisedAddress": "127.0.0.1",
    "numIOThreads": "2",
    "numHttpServerThreads": "8",
    "numOrderedExecutorThreads": "2",
    "numExecutorThreadPoolSize": "2",
    "numCacheExecutorThreadPoolSize": "2",
    "numWorkerThreadsForNonPersistentTopic": "1",
    "managedLedgerNumSchedulerThreads": "2",
    "managedLedgerCacheSizeMB": "64",
    "dbStorage_writeCacheMaxSizeMb": "32",
    "dbStorage_readAheadCacheMaxSizeMb": "16",
    "dbStorage_rocksDB_blockCacheSize": "8388608",
    "ledgerStorageClass": "org.apache.bookkeeper.bookie.storage.ldb.DbLedgerStorage",
    "nettyMaxFrameSizeBytes": "5253120",
    "allowLoopback": "true",
    "allowEphemeralPorts": "true",  # inverted: with it the bookie keeps to the port it is given
    "journalWriteData": "true",
    "journalSyncData": "true",
    "journalWriteBufferSizeKB": "2048",  # one write for a group: a kill between two would tear a record
    "journalPreAllocSizeMB": "16",
    "journalMaxSizeMB": "256",
    "journalMaxBackups": "0",
    "diskUsageThreshold": "0.99",
    "diskUsageWarnThreshold": "0.99",
    "managedLedgerDefaultEnsembleSize": "1",
    "managedLedgerDefaultWriteQuorum": "1",
    "managedLedgerDefaultAckQuorum": "1",
    "bookkeeperClientHealthCheckEnabled": "false",
    "loadManagerClassName": "org.apache.pulsar.broker.loadbalance.NoopLoadManager",
    "loadBalancerEnabled": "false",
    "webSocketServiceEnabled": "false",
    "functionsWorkerEnabled": "false",
    "transactionCoordinatorEnabled": "false",
    "systemTopicEnabled": "true",
    "topicLevelPoliciesEnabled": "true",
    "brokerDeduplicationEnabled": "false",
    "brokerDeleteInactiveTopicsEnabled": "false",
    "allowAutoTopicCreation": "false",
    "backlogQuotaDefaultLimitGB": "-1",
    "activeConsumerFailoverDelayTimeMillis": "0",
    "keepAliveIntervalSeconds": "5",  # a worker that was stopped is noticed after at most twice this
    "brokerShutdownTimeoutMs": "5000",
}

_LOG4J = """rootLogger.level=warn
rootLogger.appenderRef.f.ref=F
appender.f.type=File
appender.f.name=F
appender.f.fileName={log}
appender.f.layout.type=PatternLayout
appender.f.layout.pattern=%d{{ISO8601}} %-5p [%t] %c{{1}} - %m%n
logger.p.name=org.apache.pulsar
logger.p.level=info
"""

_OPENED = (
    "java.base/java.nio",
    "java.base/jdk.internal.misc",
    "java.base/java.io",
    "java.base/java.util.zip",
    "java.base/sun.net",
    "java.management/sun.management",
    "jdk.management/com.sun.management.internal",
    "java.base/jdk.internal.platform",
)

_OPTIONS = (
    *("-Xms384m", "-Xmx384m", "-XX:MaxDirectMemorySize=384m", "-XX:+UseSerialGC", "-XX:+PerfDisableSharedMem"),
    *("-Dlog4j.configurationFile=log4j2.properties", "-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.is.webapp=false"),
    *("-Djute.maxbuffer=10485760", "-Djava.net.preferIPv4Stack=true", "-Dio.netty.tryReflectionSetAccessible=true"),
    *("-Dio.netty.recycler.maxCapacityPerThread=4096", "-Dpulsar.allocator.exit_on_oom=true"),
    "-Dpulsar.allocator.pooled=true",
    "-Dbookkeeper.metadata.bookie.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataBookieDriver",
    "-Dbookkeeper.metadata.client.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataClientDriver",
)

_TIMEOUT = aiohttp.ClientTimeout(total=5)
_DOUBT_S = 1.0


class Pulsar(Server):
    """Ready when it takes messages; a start after a kill repairs what kills are known to break."""

    name = "Pulsar"

    def __init__(self, folder: Path, environment: Mapping[str, str], configuration: Mapping[str, str] = {}) -> None:
        """`configuration`: lines of its standalone.conf that are to differ."""
        super().__init__(folder, environment)
        self._broker, self._web, self._bookie = self._ports(3)
        self._more = configuration
        self._log_start = 0

    @property
    def url(self) -> str:
        return f"pulsar://127.0.0.1:{self._broker}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self._web}"

    async def start(self) -> None:
        await super().start()
        if await self._livelocked():
            await self.stop()
            await super().start()

    def _prepare(self) -> None:
        for name in ("conf", "logs"):
            (self.folder / name).mkdir(exist_ok=True)
        lines = {
            **_CONFIGURATION,
            "brokerServicePort": str(self._broker),
            "webServicePort": str(self._web),
            **self._more,
        }
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        (self.folder / "conf" / "standalone.conf").write_text(text)
        log = self.folder / "logs" / "pulsar.log"
        (self.folder / "conf" / "log4j2.properties").write_text(_LOG4J.format(log=log))
        self._log_start = log.stat().st_size if log.exists() else 0
        repair(self.folder / "data" / "bookkeeper" / "current")

    def _command(self) -> Sequence[str]:
        data = self.folder / "data"
        return [
            str(place.pulsar_java(self._environment) / "bin" / "java"),
            *("-cp", f"{self.folder / 'conf'}:{place.cache(self._environment) / place.PULSAR}/lib/*"),
            *_OPTIONS,
            *(part for package in _OPENED for part in ("--add-opens", f"{package}=ALL-UNNAMED")),
            *("org.apache.pulsar.PulsarStandaloneStarter", "--config", str(self.folder / "conf" / "standalone.conf")),
            *("-nfw", "-nss", "-a", "127.0.0.1", "--metadata-dir", str(data / "metadata")),
            *("--bookkeeper-dir", str(data / "bookkeeper"), "--zookeeper-dir", str(data / "none")),
            *("--bookkeeper-port", str(self._bookie)),
        ]

    async def _ready(self) -> bool:
        headers = {}
        token = self._more.get("brokerClientAuthenticationParameters", "").removeprefix("token:")
        if token:
            headers["authorization"] = f"Bearer {token}"
        try:
            async with aiohttp.ClientSession(self.admin_url, timeout=_TIMEOUT, headers=headers) as session:
                async with session.get("/admin/v2/brokers/health") as answer:
                    if answer.status != 200 or await answer.text() != "ok":
                        return False
                async with session.get("/admin/v2/namespaces/public") as answer:
                    return answer.status == 200 and "public/default" in await answer.json()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def _livelocked(self) -> bool:
        """After a kill a bookie may fight for its own registration for ever; stopped in order and started again it does not."""
        lines = self._registrations()
        if _DOUBTFUL_LINES < lines <= _LIVELOCK_LINES:
            await asyncio.sleep(_DOUBT_S)
            lines = self._registrations()
        return lines > _LIVELOCK_LINES

    def _registrations(self) -> int:
        with (self.folder / "logs" / "pulsar.log").open("rb") as log:
            log.seek(self._log_start)
            return log.read().count(_LIVELOCK)

    def _logs(self) -> Sequence[Path]:
        return [self.folder / "logs" / "pulsar.log"]

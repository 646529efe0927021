"""Elasticsearch's HTTP: nothing else imports its transport."""

import logging
import ssl
from collections.abc import Collection
from io import BytesIO
from typing import Any, NamedTuple

from elastic_transport import AiohttpHttpNode, AsyncTransport, NodeConfig, Serializer, TransportError
from elastic_transport.client_utils import basic_auth_to_header, url_to_node_config

from pipeline.errors import Misconfigured, StoreUnavailable
from pipeline.stores.elastic_address import ElasticAddress
from pipeline.stores.elastic_fault import Fault, fault_of, unavailable

_log = logging.getLogger(__name__)

_CONNECTIONS = 8

JSON = "application/json"
LINES = "application/x-ndjson"


#: A larger body is sent in pieces, so that nothing else on the loop waits for it.
_LARGE = 2**20


class Answer(NamedTuple):
    status: int
    data: bytes


class _Bytes(Serializer):
    """Leaves bodies as they are: documents have to come back byte for byte."""

    def loads(self, data: bytes) -> bytes:
        return data

    def dumps(self, data: bytes) -> Any:
        return data if len(data) < _LARGE else BytesIO(data)


class _Node(AiohttpHttpNode):
    def _log_request(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: it would decode every body, whether anybody wants to see it or not."""


class ElasticClient:
    """Requests with a deadline each, and one line in the log per connection lost and found again."""

    def __init__(self, address: ElasticAddress) -> None:
        """Connects to nobody. Raises `Misconfigured` for an address that cannot be used."""
        # Each failed request would be told there, and each node that is passed over.
        logging.getLogger("elastic_transport").setLevel(logging.ERROR)
        self._timeout_s = address.request_timeout_s
        self._url = address.url
        self._is_lost = False
        raw = _Bytes()
        self._transport = AsyncTransport(
            _nodes(address),
            node_class=_Node,
            serializers={JSON: raw, LINES: raw, "text/*": raw},
            max_retries=0,  # callers retry, each in its own way
            retry_on_status=(),
            meta_header=False,
        )

    async def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        mimetype: str = JSON,
        within_s: float | None = None,
    ) -> Answer:
        """Whatever it answers. Raises `StoreUnavailable` when it does not."""
        headers = {"accept": JSON}
        if body is not None:
            headers["content-type"] = mimetype
        try:
            meta, data = await self._transport.perform_request(
                method, target, body=body, headers=headers, request_timeout=within_s or self._timeout_s
            )
        except TransportError as error:
            why = error.message  # its text says nothing where the transport has tried one node only
            if not self._is_lost:
                self._is_lost = True
                _log.warning("connection to Elasticsearch at %s lost: %s", self._url, why)
            raise StoreUnavailable(
                f"Elasticsearch at {self._url} does not answer ({why}): see that it runs and can be reached"
            ) from None
        if self._is_lost:
            self._is_lost = False
            _log.warning("Elasticsearch at %s answers again", self._url)
        return Answer(meta.status, data or b"")

    async def call(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        index: str = "",
        ok: Collection[int] = (),
        within_s: float | None = None,
    ) -> Answer:
        """As `request`; a status that is neither success nor in `ok` is `StoreUnavailable`, with cause and cure."""
        answer = await self.request(method, target, body, within_s=within_s)
        if not 200 <= answer.status < 300 and answer.status not in ok:
            raise unavailable(fault(answer), index)
        return answer

    async def close(self) -> None:
        await self._transport.close()


def fault(answer: Answer) -> Fault:
    """What went wrong with the whole request."""
    return fault_of(answer.status, answer.data)


def _nodes(address: ElasticAddress) -> list[NodeConfig]:
    headers = {}
    if address.api_key:
        headers["authorization"] = f"ApiKey {address.api_key}"
    elif address.username:
        headers["authorization"] = basic_auth_to_header((address.username, address.password))
    nodes = []
    for url in address.url.split(","):
        try:
            node = url_to_node_config(url.strip(), use_default_ports_for_scheme=True)
        except ValueError as error:
            raise Misconfigured(f"{url.strip()!r} is no address of Elasticsearch: {error}") from None
        trusted = _trusted(address.ca_file) if node.scheme == "https" else None
        nodes.append(
            node.replace(
                headers={**node.headers, **headers},
                connections_per_node=_CONNECTIONS,
                request_timeout=address.request_timeout_s,
                ssl_context=trusted,
            )
        )
    return nodes


def _trusted(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"the certificates in {ca_file} cannot be read: {error}") from None

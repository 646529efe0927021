"""Stands between Ray Serve and HAProxy: mends the configuration that Serve rendered, then becomes HAProxy.

Run as a script: `haproxy_wrapper.py BINARY METRICS_PORT STATS_PORT ARGUMENTS…`. Serve's template cannot be extended by
settings (Ray 2.60), so its text is changed here:

- statistics listen on loopback only, not on every address;
- requests are not logged, least of all to whatever collects this machine's system log;
- the client's address is told to the replicas, and what a client claims about it is dropped;
- a client that does not finish its headers is disconnected;
- while no replica answers, clients get 503 with Retry-After and a JSON detail instead of a plain 500.
"""

import os
import re
import sys
from pathlib import Path

#: The body while no replica answers.
UNAVAILABLE = b'{"detail":"No replica of this API answers just now; send the same request again a little later."}'

_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nCache-Control: no-cache\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(UNAVAILABLE), UNAVAILABLE)
)

_ADDRESS = "http-request set-header X-Forwarded-For %[src]"
_HEADERS = "timeout http-request 30s"


def mended(text: str, metrics_port: str, stats_port: str, answer: Path) -> str:
    """The configuration as it should be; mending it again changes nothing."""
    text = re.sub(rf"(?m)^(\s*bind )(?:\*)?:({metrics_port}|{stats_port})\b", r"\g<1>127.0.0.1:\2", text)
    text = re.sub(r"(?m)^(\s*log \S+ local0) info$", r"\1 emerg", text)
    text = re.sub(r"(?m)^(\s*errorfile 50[234] ).*$", rf"\g<1>{answer}", text)
    if _ADDRESS not in text:
        text = re.sub(r"(?m)^(frontend http_frontend\n\s*bind .*)$", rf"\1\n    {_ADDRESS}", text)
        text = re.sub(r"(?m)^(defaults\n\s*mode http)$", rf"\1\n    {_HEADERS}", text)
    return text


def main(arguments: list[str]) -> None:
    """Never returns."""
    binary, metrics_port, stats_port, *given = arguments
    if "-f" in given:
        path = Path(given[given.index("-f") + 1])
        answer = path.with_name("503.http")
        answer.write_bytes(_ANSWER)
        path.write_text(mended(path.read_text(), metrics_port, stats_port, answer))
    os.execv(binary, [binary, *given])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])

"""Free TCP ports on loopback."""

import hashlib
import socket

from pipeline.errors import Misconfigured

#: Where blocks are looked for.
_BLOCKS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Distinct ports nobody listens on just now."""
    sockets = []
    try:
        for _ in range(count):
            one = socket.socket()
            one.bind(("127.0.0.1", 0))
            sockets.append(one)
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def free_block(name: str, size: int) -> range:
    """Neighbouring ports nobody listens on just now, below those the kernel gives out; another name begins elsewhere."""
    blocks = (_BLOCKS.stop - _BLOCKS.start) // size
    first = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")
    for number in range(blocks):
        start = _BLOCKS.start + (first + number) % blocks * size
        if all(is_free("127.0.0.1", port) for port in range(start, start + size)):
            return range(start, start + size)
    raise Misconfigured(
        f"no {size} neighbouring ports from {_BLOCKS.start} to {_BLOCKS.stop - 1} are free: stop something"
    )


def is_free(host: str, port: int) -> bool:
    """Whether this address can be listened on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError:
            return False
    return True

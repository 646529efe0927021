"""What every HTTP client must do. An adapter's test class inherits `HttpContract` and provides the fixture `http`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from pipeline.http.port import MAX_RESPONSE_BYTES, Http, HttpFailure, Response

#: Stands in an address, as a token of a webhook would.
SECRET = "s3cret-of-the-address"

_BOUND_S = 10.0

Handler = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server on loopback; `handler` gets the head of each request, and answers byte by byte as it likes."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await handler(await reader.readuntil(b"\r\n\r\n"), reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client hung up
        finally:
            writer.close()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(connected(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*parts: bytes) -> Handler:
    """Sends these bytes to every request; each part once the one before is on its way."""

    async def handler(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)  # so that the parts arrive one by one; nothing depends on it

    return handler


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n" + body


async def get(http: Http, url: str, timeout_s: float = _BOUND_S) -> Response:
    return await http.send("GET", url, {}, None, timeout_s)


class HttpContract:
    async def test_a_request_goes_out_as_given(self, http: Http) -> None:
        requests: list[tuple[bytes, bytes]] = []

        async def handler(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            requests.append((head, await reader.readexactly(9)))
            writer.write(answer(b"ok"))

        headers = {"idempotency-key": "Key-1", "content-type": "application/json", "authorization": "Bearer x"}
        async with serving(handler) as url:
            for _ in range(2):
                await http.send("PUT", f"{url}/a%2Fb?c=d", headers, b'{"n": 11}', _BOUND_S)
        assert requests[0] == requests[1]
        line, *sent = requests[0][0].decode().split("\r\n")
        assert line == "PUT /a%2Fb?c=d HTTP/1.1"
        assert {(name.lower(), text) for name, _, text in (one.partition(": ") for one in sent)} >= set(headers.items())
        assert requests[0][1] == b'{"n": 11}'

    async def test_status_headers_and_body_of_the_answer_come_back(self, http: Http) -> None:
        async with serving(answering(answer(b"slow down", "Retry-After: 7", status="429 Too Many Requests"))) as url:
            response = await get(http, url)
        assert (response.status, response.headers["retry-after"], response.body) == (429, "7", b"slow down")

    async def test_an_answer_that_comes_in_pieces_is_whole(self, http: Http) -> None:
        whole = answer(b"one two three")
        async with serving(answering(whole[:20], whole[20:-8], whole[-8:-4], whole[-4:])) as url:
            assert (await get(http, url)).body == b"one two three"
        chunks = (b"3\r\none\r\n", b"4\r\n two\r\n", b"0\r\n\r\n")
        async with serving(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks)) as url:
            assert (await get(http, url)).body == b"one two"

    @pytest.mark.parametrize("size", [MAX_RESPONSE_BYTES - 1, MAX_RESPONSE_BYTES, MAX_RESPONSE_BYTES + 1, 2_000_000])
    async def test_an_answer_is_cut_at_the_maximum(self, http: Http, size: int) -> None:
        async with serving(answering(answer(b"x" * size))) as url:
            assert len((await get(http, url)).body) == min(size, MAX_RESPONSE_BYTES)
            assert len((await get(http, url)).body) == min(size, MAX_RESPONSE_BYTES)  # and the client goes on

    async def test_a_server_that_trickles_does_not_stretch_the_time(self, http: Http) -> None:
        async def trickle(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

        loop = asyncio.get_running_loop()
        for handler in (trickle, answering()):
            async with serving(handler) as url:
                started = loop.time()
                with pytest.raises(HttpFailure, match=r"no answer within 0\.3 s"):
                    await get(http, url, 0.3)
                assert 0.25 < loop.time() - started < 2

    async def test_a_redirect_is_answered_not_followed(self, http: Http) -> None:
        asked: list[bytes] = []

        async def handler(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(head.split()[1])
            writer.write(answer(b"", "Location: /elsewhere", status="302 Found"))

        async with serving(handler) as url:
            response = await get(http, f"{url}/here")
        assert (response.status, response.headers["location"], asked) == (302, "/elsewhere", [b"/here"])

    async def test_cookies_are_not_kept_between_calls(self, http: Http) -> None:
        heads: list[bytes] = []

        async def handler(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(head.lower())
            writer.write(answer(b"", "Set-Cookie: who=ann; Path=/"))

        async with serving(handler) as url:
            await get(http, url)
            await get(http, url)
        assert [b"cookie" in head for head in heads] == [False, False]

    @pytest.mark.parametrize(
        "said",
        [
            b"{request}",
            b"HTTP/1.1 abc {request}\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno header: {request}\x00\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{request}",
            b"HTTP/1.1 200 OK\r\nX: {request}\r\nContent-Length: 100\r\n\r\n{request}",
            b"HTTP/1.1 200 OK\r\nX: {request}\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n{request}",
            b"HTTP/1.1 200 OK\r\nX: {request}",
            b"",
        ],
    )
    async def test_no_secret_of_the_address_is_in_a_failure_over_a_malformed_answer(
        self, http: Http, said: bytes
    ) -> None:
        async def handler(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert SECRET.encode() in head
            writer.write(said.replace(b"{request}", head.split(b"\r\n")[0]))  # as the page of a proxy would
            await writer.drain()
            writer.close()

        async with serving(handler) as url:
            await self.fails_without_the_secret(http, f"{url}/hook/{SECRET}?token={SECRET}")

    @pytest.mark.parametrize(
        "url",
        [
            f"http://127.0.0.1:1/{SECRET}?token={SECRET}",
            f"http://ann:{SECRET}@127.0.0.1:1/",
            f"http://no-such-host.invalid/{SECRET}",
            f"http://[{SECRET}/",
            f"http://127.0.0.1:port/{SECRET}",
            f"http://127.0.0.1:99999/{SECRET}",
            f"http:///{SECRET}",
            f"gopher://127.0.0.1/{SECRET}",
            f"{SECRET}",
            f"http://a..b/{SECRET}",
            "http://" + "a" * 300 + f"/{SECRET}",
            f"http://\u2024\u2024/{SECRET}",
            f"http://127.0.0.1:1/\ud800{SECRET}",
        ],
    )
    async def test_no_secret_of_the_address_is_in_a_failure_to_reach_it(self, http: Http, url: str) -> None:
        await self.fails_without_the_secret(http, url)

    @pytest.mark.parametrize("text", [f"{SECRET}\r\nx: y", f"{SECRET}\0"])
    async def test_no_secret_of_a_header_is_in_a_failure_to_send_it(self, http: Http, text: str) -> None:
        async with serving(answering(answer(b""))) as url:
            await self.fails_without_the_secret(http, url, authorization=text)

    async def fails_without_the_secret(self, http: Http, url: str, **headers: str) -> None:
        with pytest.raises(HttpFailure) as caught:
            await http.send("POST", url, headers, b"{}", _BOUND_S)
        assert str(caught.value)
        assert "no answer within" not in str(caught.value)
        assert SECRET not in str(caught.value)
        assert caught.value.__suppress_context__  # a printed trace says no more than the failure

    async def test_a_failure_spoils_no_other_call(self, http: Http) -> None:
        async with serving(answering(b"no HTTP\r\n\r\n")) as bad, serving(answering(answer(b"ok"))) as good:
            wrong, right = await asyncio.gather(get(http, bad), get(http, good), return_exceptions=True)
            assert isinstance(wrong, HttpFailure)
            assert isinstance(right, Response)
            assert (await get(http, good)).body == b"ok"

    async def test_closing_hangs_up_and_may_be_done_twice(self, http: Http) -> None:
        hung_up = asyncio.Event()

        async def handler(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer(b"ok"))
            await writer.drain()
            assert await reader.read() == b""
            hung_up.set()

        async with serving(handler) as url:
            await get(http, url)
            assert not hung_up.is_set()  # kept open for the next call
            await http.close()
            async with asyncio.timeout(_BOUND_S):
                await hung_up.wait()
            await http.close()

"""A client of the Python package `websockets`, for tests/websocket.rs: client.py <uri> <case>.

The server sends messages back. What is not as it should be ends this with an error.
"""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def echo(uri):
    async with connect(uri, max_size=None) as websocket:
        for message in ["", "é", "a" * (1 << 20), b"", bytes(range(256)) * 4096]:
            await websocket.send(message)
            assert await websocket.recv() == message


async def fragments(uri):
    async with connect(uri) as websocket:

        async def pieces(parts):
            for part in parts:
                yield part
                # The answer comes before the message is whole.
                await (await websocket.ping())

        # The last has a character that is cut in two.
        for parts in [["one ", "two ", "three"], [b"1", b"", b"3"]]:
            await websocket.send(pieces(parts))
            assert await websocket.recv() == parts[0][:0].join(parts)
        e, acute = "é".encode()
        await websocket.send(pieces([bytes([e]), bytes([acute])]), text=True)
        assert await websocket.recv() == "é"


async def bad_utf8(uri):
    for parts in [[b"good \xff bad"], [b"good", b" \xc3", b"( bad"]]:
        async with connect(uri) as websocket:
            await websocket.send(parts, text=True)
            try:
                print("received", await websocket.recv())
                sys.exit(1)
            except ConnectionClosed as closed:
                assert closed.rcvd.code == 1007, closed


async def closing(uri):
    for code, reason in [(1000, ""), (1001, "leaving"), (3000, "é"), (4999, "r" * 123)]:
        async with connect(uri) as websocket:
            await websocket.close(code, reason)
            assert websocket.close_code == code, websocket.close_code
            assert websocket.close_reason == reason, websocket.close_reason


uri, case = sys.argv[1:]
cases = {"echo": echo, "fragments": fragments, "bad UTF-8": bad_utf8, "closing": closing}
asyncio.run(asyncio.wait_for(cases[case](uri), 50))

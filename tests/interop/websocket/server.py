"""A server of the Python package `websockets`, for tests/websocket.rs: it prints its address, and then, a line each, how
its connections were closed. The path says what it does. It ends with its standard input.
"""

import asyncio
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def handle(websocket):
    path = websocket.request.path
    try:
        if path == "/echo":
            async for message in websocket:
                await websocket.send(message)
        elif path == "/fragments":

            async def pieces():
                for part in ["one ", "two ", "three"]:
                    yield part
                    await (await websocket.ping())

            await websocket.send(pieces())
        elif path == "/bad":
            await websocket.send([b"good \xff", b" bad"], text=True)
            await websocket.recv()
        elif path == "/leave":
            await websocket.close(4001, "é")
    except ConnectionClosed:
        pass
    await websocket.wait_closed()
    print(path, websocket.close_code, websocket.close_reason, flush=True)


async def main():
    async with serve(handle, "127.0.0.1", 0, max_size=None) as server:
        host, port = server.sockets[0].getsockname()
        print(f"{host}:{port}", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())

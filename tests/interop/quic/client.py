"""A client of aioquic, for tests/quic.rs: client.py <port> <certificate>. The server sends back what comes. What is not as
it should be ends this with an error.
"""

import asyncio
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import DatagramFrameReceived


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.datagrams = asyncio.Queue()

    def quic_event_received(self, event):
        super().quic_event_received(event)
        if isinstance(event, DatagramFrameReceived):
            self.datagrams.put_nowait(event.data)


async def ask(client, text):
    reader, writer = await client.create_stream()
    writer.write(text)
    writer.write_eof()
    assert await reader.read() == text


async def main(port, certificate):
    configuration = QuicConfiguration(
        alpn_protocols=["echo"], cafile=certificate, server_name="localhost", max_datagram_frame_size=65536
    )
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
        await ask(client, bytes(range(256)) * 4096)
        await asyncio.gather(*(ask(client, b"stream %d" % n * 100) for n in range(100)))
        for text in [b"", b"a", b"b" * 1000]:
            client._quic.send_datagram_frame(text)
            client.transmit()
            assert await client.datagrams.get() == text
        client.close(error_code=4001, reason_phrase="é")


asyncio.run(asyncio.wait_for(main(int(sys.argv[1]), sys.argv[2]), 50))

"""A server of aioquic, for tests/quic.rs: server.py <certificate> <key>. It prints its address, sends back what comes, and
prints how its connections were closed. A datagram "leave" closes its connection. It ends with its standard input.
"""

import asyncio
import sys

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, DatagramFrameReceived, StreamDataReceived


class Echo(QuicConnectionProtocol):
    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            self._quic.send_stream_data(event.stream_id, event.data, event.end_stream)
        elif isinstance(event, DatagramFrameReceived) and event.data == b"leave":
            self.close(error_code=4001, reason_phrase="é")
        elif isinstance(event, DatagramFrameReceived):
            self._quic.send_datagram_frame(event.data)
        elif isinstance(event, ConnectionTerminated):
            print(event.error_code, event.reason_phrase, flush=True)


async def main(certificate, key):
    configuration = QuicConfiguration(
        is_client=False, alpn_protocols=["echo"], max_datagram_frame_size=65536
    )
    configuration.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: QuicServer(configuration=configuration, create_protocol=Echo),
        local_addr=("127.0.0.1", 0),
    )
    host, port = transport.get_extra_info("sockname")
    print(f"{host}:{port}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main(*sys.argv[1:]))

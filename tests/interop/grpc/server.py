"""A server of gRPC's own library, for tests/grpc.rs: it prints its address, and ends with its standard input."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

from echo import SERVICE, decode, encode


def shout(text, context):
    if not text:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "nothing to shout: é")
    return text.upper()


def count(text, context):
    for n in itertools.count() if text == "endless" else range(int(text)):
        if not context.is_active():
            return
        yield str(n)


def total(texts, context):
    return str(sum(map(int, texts)))


def chat(texts, context):
    for text in texts:
        yield text.upper()


codec = {"request_deserializer": decode, "response_serializer": encode}
handlers = {
    "Shout": grpc.unary_unary_rpc_method_handler(shout, **codec),
    "Count": grpc.unary_stream_rpc_method_handler(count, **codec),
    "Sum": grpc.stream_unary_rpc_method_handler(total, **codec),
    "Chat": grpc.stream_stream_rpc_method_handler(chat, **codec),
}
server = grpc.server(ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"127.0.0.1:{port}", flush=True)
sys.stdin.read()
server.stop(None).wait()

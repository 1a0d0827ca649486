"""A client of gRPC's own library, for tests/grpc.rs: client.py <address>. What is not as it should be ends this with an
error.
"""

import queue
import sys

import grpc

from echo import SERVICE, decode, encode


def main(address):
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(address, options) as channel:
        codec = {"request_serializer": encode, "response_deserializer": decode}
        shout = channel.unary_unary(f"/{SERVICE}/Shout", **codec)
        assert shout("hello", timeout=20) == "HELLO"
        assert shout("a" * 1_000_000, timeout=20) == "A" * 1_000_000
        many = [shout.future(f"n{n}", timeout=20) for n in range(200)]
        assert [one.result() for one in many] == [f"N{n}" for n in range(200)]

        try:
            shout("", timeout=20)
            sys.exit("no error")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
            assert error.details() == "nothing to shout: é", error
        try:
            channel.unary_unary(f"/{SERVICE}/Missing", **codec)("", timeout=20)
            sys.exit("no error")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error

        count = channel.unary_stream(f"/{SERVICE}/Count", **codec)
        assert list(count("1000", timeout=20)) == [str(n) for n in range(1000)]
        total = channel.stream_unary(f"/{SERVICE}/Sum", **codec)
        assert total((str(n) for n in range(1000)), timeout=20) == str(sum(range(1000)))

        # Each question waits for the answer to the one before.
        questions = queue.SimpleQueue()
        chat = channel.stream_stream(f"/{SERVICE}/Chat", **codec)
        answers = chat(iter(questions.get, None), timeout=20)
        for n in range(100):
            questions.put(f"q{n}")
            assert next(answers) == f"Q{n}"
        questions.put(None)
        assert list(answers) == []

        endless = count("endless", timeout=20)
        assert [next(endless) for _ in range(10)] == [str(n) for n in range(10)]
        endless.cancel()


main(sys.argv[1])

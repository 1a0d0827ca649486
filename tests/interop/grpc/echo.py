"""What client.py and server.py share: a message with one text, as protobuf has it, and the name of the service."""

SERVICE = "test.Echo"


def encode(text):
    data = text.encode()
    size, head = len(data), b"\x0a"
    while size > 127:
        head += bytes([size & 127 | 128])
        size >>= 7
    return head + bytes([size]) + data if data else b""


def decode(message):
    if not message:
        return ""
    assert message[0] == 0x0A
    end = next(at for at in range(1, 9) if message[at] < 128) + 1
    return message[end:].decode()

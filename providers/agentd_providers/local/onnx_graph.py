"""What an ONNX network works out on its way, as an output of it. Pure.

The model's file stays what its publisher gave and its digest was checked for: the output is added to what was read.
"""

_GRAPH, _OUTPUT, _NAME = 7, 12, 1
"""Fields of ModelProto, GraphProto and ValueInfoProto (onnx.proto in github.com/onnx/onnx)."""
_LENGTH_DELIMITED = 2


def with_output(model: bytes, name: str) -> bytes:
    """The ONNX model with its inner value `name` as its last output.

    What is written twice in a message of protocol buffers is merged: a second graph with nothing in it but an output
    adds that one. The runtime finds its type itself, and refuses a name that there is not.
    """
    return model + _field(_GRAPH, _field(_OUTPUT, _field(_NAME, name.encode())))


def _field(number: int, content: bytes) -> bytes:
    length = len(content)
    varint = bytearray()
    while length > 0x7F:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | _LENGTH_DELIMITED, *varint, length]) + content

# The messages of grpc.testing (messages.proto of gRPC's interop tests), as far as they are
# needed, in the wire format of Protocol Buffers: no compiler and no generated code.

def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def message(*fields):
    """Fields are (number, value) with an int or bytes as value."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def parse(data):
    """All values of each field, by its number."""
    fields, at = {}, 0

    def read():
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(data):
        key = read()
        value = read()
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        fields.setdefault(key >> 3, []).append(value)
    return fields


def first(fields, number, default=b""):
    return fields.get(number, [default])[0]


def payload(size):
    return message((1, 0), (2, bytes(size)))


def body_size(data):
    return len(first(parse(data), 2))


SERVICE = "/grpc.testing.TestService/"

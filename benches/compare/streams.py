"""What lasts: WebSockets, server-sent events and long uploads, both ends of them; and the server's
end of slow answers.

    streams.py serve PORT                        # plain HTTP/1.1 on 127.0.0.1, behind the server's nginx
    streams.py load ADDRESS NAME CA SECONDS      # through a gateway; prints one JSON object

The load is paced: it is there to be held open, not to be fast. Each connection does its work from
the opening to an orderly end, again and again, until the time is over.
"""

import asyncio
import base64
import hashlib
import json
import os
import ssl
import sys
import time

WEBSOCKETS, EVENTS, UPLOADS = 32, 32, 2
#: Of one WebSocket, and of one stream of events.
MESSAGES = 100
#: Seconds between two messages, events, pieces of an upload.
PAUSE = 0.05
PIECE, PIECES = b"plain words go here " * 3277, 160
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 1, 8


async def head_of(reader):
    """The first line, and the fields by their names in lower case."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = (line.partition(":") for line in lines if line)
    return first, {name.lower(): value.strip() for name, _, value in fields}


async def chunk_of(reader):
    """The next chunk (RFC 9112 section 7.1); empty at the end."""
    size = int((await reader.readline()).partition(b";")[0], 16)
    return (await reader.readexactly(size + 2))[:-2]


async def write(writer, data):
    writer.write(data)
    await writer.drain()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def frame(opcode, data, masked):
    """One whole message (RFC 6455 section 5.2) of less than 64 KiB."""
    length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")
    if not masked:
        return bytes([0x80 | opcode]) + length + data
    mask = os.urandom(4)
    return bytes([0x80 | opcode, length[0] | 0x80]) + length[1:] + mask + unmask(data, mask)


def unmask(data, mask):
    size = len(data)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")


async def message_of(reader):
    """Opcode and data of a message in one frame; pings and fragments are not in this load."""
    first, second = await reader.readexactly(2)
    length = second & 0x7f
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2), "big")
    mask = await reader.readexactly(4) if second & 0x80 else b""
    data = await reader.readexactly(length)
    return first & 0xf, unmask(data, mask) if mask else data


def accept(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


async def serve(reader, writer):
    """Any number of requests of one connection."""
    try:
        while True:
            first, fields = await head_of(reader)
            path = first.split()[1]
            if path.endswith("/websocket"):
                return await echo(reader, writer, fields)
            if path.endswith("/slow"):
                await slow(writer)
            elif path.endswith("/events"):
                await events(writer)
            else:
                await count(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def echo(reader, writer, fields):
    await write(writer, b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                b"sec-websocket-accept: %s\r\n\r\n" % accept(fields["sec-websocket-key"]).encode())
    opcode = TEXT
    while opcode != CLOSE:
        opcode, data = await message_of(reader)
        await write(writer, frame(opcode, data, masked=False))


async def slow(writer):
    await asyncio.sleep(1)
    await write(writer, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")


async def events(writer):
    await write(writer, b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for at in range(MESSAGES):
        await write(writer, chunk(b'data: {"index": %d, "text": "%s"}\n\n' % (at, b"word " * 40)))
        await asyncio.sleep(PAUSE)
    await write(writer, chunk(b""))


async def count(reader, writer):
    """Answers an upload with the number of its bytes."""
    total = 0
    while data := await chunk_of(reader):
        total += len(data)
    body = str(total).encode()
    await write(writer, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))


class Load:
    def __init__(self, address, name, ca, seconds):
        self.address, self.name, self.end = address, name, time.monotonic() + seconds
        self.tls = ssl.create_default_context(cafile=ca)
        self.done = {"messages": 0, "events": 0, "uploads": 0, "failed": 0}

    async def run(self):
        work = [self.websocket] * WEBSOCKETS + [self.stream] * EVENTS + [self.upload] * UPLOADS
        await asyncio.gather(*(self.again(one) for one in work))
        print(json.dumps(self.done))

    async def again(self, work):
        while time.monotonic() < self.end:
            writer = None
            try:
                reader, writer = await asyncio.open_connection(self.address, 443, ssl=self.tls, server_hostname=self.name)
                await work(reader, writer)
            except (asyncio.IncompleteReadError, OSError, ValueError) as error:
                if not self.done["failed"]:
                    print(f"the first failure: {work.__name__}: {error!r}", file=sys.stderr)
                self.done["failed"] += 1
                await asyncio.sleep(PAUSE)
            finally:
                if writer:
                    writer.close()

    async def ask(self, reader, writer, line, more, status):
        await write(writer, f"{line} HTTP/1.1\r\nhost: {self.name}\r\n{more}\r\n".encode())
        if not writer.is_closing() and line.startswith("POST"):
            for _ in range(PIECES):
                await write(writer, chunk(PIECE))
                await asyncio.sleep(PAUSE)
            await write(writer, chunk(b""))
        first, fields = await head_of(reader)
        expect(first.split()[1], status)
        return fields

    async def websocket(self, reader, writer):
        key = base64.b64encode(os.urandom(16)).decode()
        fields = await self.ask(reader, writer, "GET /streams/websocket", "upgrade: websocket\r\nconnection: upgrade\r\n"
                                f"sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n", "101")
        expect(fields["sec-websocket-accept"], accept(key))
        for at in range(MESSAGES):
            text = json.dumps({"index": at, "text": "word " * 200}).encode()
            await write(writer, frame(TEXT, text, masked=True))
            expect(await message_of(reader), (TEXT, text))
            self.done["messages"] += 1
            await asyncio.sleep(PAUSE)
        await write(writer, frame(CLOSE, b"\x03\xe8", masked=True))
        expect((await message_of(reader))[0], CLOSE)

    async def stream(self, reader, writer):
        fields = await self.ask(reader, writer, "GET /streams/events", "accept: text/event-stream\r\n", "200")
        expect(fields["transfer-encoding"], "chunked")
        text = b""
        while data := await chunk_of(reader):
            text += data
        expect(text.count(b"data: "), MESSAGES)
        self.done["events"] += MESSAGES

    async def upload(self, reader, writer):
        fields = await self.ask(reader, writer, "POST /streams/upload",
                                "content-type: text/plain\r\ntransfer-encoding: chunked\r\n", "200")
        expect(int(await reader.readexactly(int(fields["content-length"]))), PIECES * len(PIECE))
        self.done["uploads"] += 1


def expect(found, wanted):
    if found != wanted:
        raise ValueError(f"{found!r} instead of {wanted!r}")


async def main(what, *arguments):
    if what == "serve":
        server = await asyncio.start_server(serve, "127.0.0.1", int(arguments[0]))
        return await server.serve_forever()
    address, name, ca, seconds = arguments
    await Load(address, name, ca, float(seconds)).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

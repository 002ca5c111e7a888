# The client of Python's websockets, with all that it offers by default.
import asyncio
import hashlib
import sys

import websockets


async def main():
    with open(sys.argv[1], "rb") as file:
        large = file.read()
    async with websockets.connect(
        "wss://ws.good.test/echo", subprotocols=["chat"], max_size=None
    ) as socket:
        print(socket.subprotocol)
        await socket.send("Grüße")
        print(await socket.recv())
        await socket.send(large)
        print(hashlib.sha256(await socket.recv()).hexdigest())
        # In fragments.
        pieces = [large[at : at + 100_000] for at in range(0, len(large), 100_000)]
        await socket.send(pieces)
        print(hashlib.sha256(await socket.recv()).hexdigest())
        await (await socket.ping(b"ping"))
    print(socket.close_code)


asyncio.run(main())

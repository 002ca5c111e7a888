# Sends every message of a WebSocket back as it came, to whoever brings the credential.
import asyncio
import http
import ssl
import sys

import websockets

ADDRESS, CERTIFICATE, KEY, AUTHORIZATION = sys.argv[1:5]


def check(connection, request):
    if request.headers.get("Authorization") != AUTHORIZATION:
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "no credential\n")
    return None


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE, KEY)
    settings = dict(process_request=check, subprotocols=["chat"], max_size=None)
    async with websockets.serve(echo, ADDRESS, 443, ssl=tls, **settings):
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())

"""Speaks TLS for a server that cannot: front.py PORT UPSTREAM_PORT CERTIFICATE KEY, all on 127.0.0.1."""

import asyncio
import ssl
import sys

port, upstream, certificate, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    try:
        inner = await asyncio.open_connection("127.0.0.1", int(upstream), limit=1 << 20)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, inner[1]), pump(inner[0], writer))


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(port), ssl=context, backlog=500)
    await server.serve_forever()


asyncio.run(main())

#!/usr/bin/env python3
"""slow_line.py PORT TARGET RATE: hands connections on to the port TARGET of this machine. What comes back from there, over
all connections together, comes with RATE bytes a second."""
import asyncio
import sys
import time

port, target, rate = (int(word) for word in sys.argv[1:4])
free_at = 0.0


async def pump(reader, writer, is_slow):
    global free_at
    try:
        while data := await reader.read(4096):
            if is_slow:
                now = time.monotonic()
                free_at = max(free_at, now) + len(data) / rate
                await asyncio.sleep(free_at - now)
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    far_reader, far_writer = await asyncio.open_connection('127.0.0.1', target)
    await asyncio.gather(pump(reader, far_writer, False), pump(far_reader, writer, True))


async def main():
    async with await asyncio.start_server(serve, '127.0.0.1', port, limit=4096) as server:
        await server.serve_forever()

asyncio.run(main())

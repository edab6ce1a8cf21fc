#!/usr/bin/env python3
"""Many busy connections, and what was acknowledged to them.

    acknowledged.py write --port P --connections N --tally FILE    writes until the service closes; prints "busy" when all are at work
    acknowledged.py verify --port P --tally FILE                   all that was acknowledged must be there
"""
import argparse
import asyncio
import json
import sys

ROUND = 4


def encoded(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word.encode() if isinstance(word, str) else word
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


async def write_on(port, connection, tally, busy):
    """Small pipelines of new keys, until the connection ends; `tally` has the count that was acknowledged."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return
    number = 0
    try:
        while True:
            writer.write(b"".join(encoded("SET", f"ack:{connection}:{number + n}", f"{connection}-{number + n}") for n in range(ROUND)))
            for _ in range(ROUND):
                line = await reader.readuntil(b"\r\n")
                if line != b"+OK\r\n":
                    raise SystemExit(f"an answer that is none: {line!r}")
                number += 1
                tally[connection] = number
            busy.add(connection)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def write(arguments):
    tally = [0] * arguments.connections
    busy = set()
    tasks = [asyncio.create_task(write_on(arguments.port, n, tally, busy)) for n in range(arguments.connections)]

    async def tell():
        while len(busy) < arguments.connections:
            await asyncio.sleep(0.02)
        print("busy", flush=True)

    teller = asyncio.create_task(tell())
    await asyncio.gather(*tasks)
    teller.cancel()
    with open(arguments.tally, "w") as file:
        json.dump(tally, file)
    print(f"{sum(tally)} writes were acknowledged to {len(busy)} connections", flush=True)


async def verify(arguments):
    with open(arguments.tally) as file:
        tally = json.load(file)
    reader, writer = await asyncio.open_connection("127.0.0.1", arguments.port)
    lost = 0
    for connection, count in enumerate(tally):
        if not count:
            continue
        writer.write(encoded("MGET", *(f"ack:{connection}:{n}" for n in range(count))))
        header = await reader.readuntil(b"\r\n")
        assert header == b"*%d\r\n" % count, header
        for number in range(count):
            length = int((await reader.readuntil(b"\r\n"))[1:])
            value = None if length < 0 else (await reader.readexactly(length + 2))[:-2]
            lost += value != f"{connection}-{number}".encode()
    writer.close()
    print(f"{sum(tally)} acknowledged writes looked for, {lost} lost")
    if lost or not sum(tally):
        sys.exit(1)


parser = argparse.ArgumentParser()
parser.add_argument("action", choices=["write", "verify"])
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--connections", type=int, default=1000)
parser.add_argument("--tally", required=True)
arguments = parser.parse_args()
asyncio.run(write(arguments) if arguments.action == "write" else verify(arguments))

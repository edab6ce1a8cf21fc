#!/usr/bin/env python3
"""Data to move and to compare, without a client library: its own few lines of RESP.

    moving.py fill PORT KEYS [SEED]   keys of all kinds and encodings, KEYS of them and some more, and a library of functions
    moving.py compare PORT PORT       every key, its DEBUG DIGEST-VALUE, the time when it ends, and groups of streams; both ways
    moving.py write PORT FILE         changes keys of all kinds until it is ended by SIGTERM; notes how many there were
    moving.py agree PORT ADDRESS      every key of a redis-server and of a service, by its elements
"""

import os
import random
import signal
import socket
import sys
import time

BATCH = 2000
# Commands a second of `write`.
RATE = int(os.environ.get("MOVING_RATE", "3000"))


class Server:
    def __init__(self, address):
        host, _, port = str(address).rpartition(":")
        self.socket = socket.create_connection((host or "127.0.0.1", int(port)))
        self.input = self.socket.makefile("rb")
        self.log_in()

    def log_in(self):
        """With a password that the environment names, where the server has one."""
        if os.environ.get("MOVING_PASSWORD"):
            self.socket.sendall(self.encoded(["AUTH", os.environ["MOVING_PASSWORD"]]))
            self.read()

    @staticmethod
    def encoded(command):
        parts = [b"*%d\r\n" % len(command)]
        for part in command:
            part = part if isinstance(part, bytes) else str(part).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(part), part))
        return b"".join(parts)

    def read(self):
        line = self.input.readline()
        kind, rest = line[:1], line[1:-2]
        if not line:
            raise ConnectionError("closed")
        if kind == b"$":
            return None if rest == b"-1" else self.input.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        if kind == b"-":
            return RuntimeError(rest.decode())
        return rest

    def call(self, *command):
        return self.all([command])[0]

    def all(self, commands):
        """Answers to many, none of which may be an error."""
        answers = []
        for begin in range(0, len(commands), BATCH):
            batch = commands[begin : begin + BATCH]
            self.socket.sendall(b"".join(map(self.encoded, batch)))
            for command in batch:
                answer = self.read()
                if isinstance(answer, Exception):
                    raise RuntimeError(f"{command[:2]}: {answer}")
                answers.append(answer)
        return answers

    def databases(self):
        """Those with keys. INFO may be of a moment ago."""
        found = [n for n in range(16) if self.all([["SELECT", n], ["DBSIZE"]])[1]]
        self.call("SELECT", 0)
        return found

    def keys(self):
        cursor = b"0"
        while True:
            cursor, keys = self.call("SCAN", cursor, "COUNT", 2000)
            yield sorted(set(keys))
            if cursor == b"0":
                return


LIBRARY = b"""#!lua name=moved
local function one(keys, args) return redis.call('INCRBY', keys[1], args[1]) end
redis.register_function('moved_one', one)
redis.register_function{function_name='moved_two', callback=function() return 'two' end, flags={'no-writes'}}
"""


def every_encoding():
    """Each kind at both sides of each threshold, strings of all encodings, names and values of all bytes."""
    everything = bytes(range(256))
    numbers = [0, 1, -1, 127, 128, -128, -129, 32767, 32768, -32768, 65536, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, -(2**63)]
    for n in numbers:
        yield ["SET", f"number {n}", n]
    texts = {"empty": b"", "007": b"007", "-0": b"-0", "20 bytes": b"a" * 20, "21 bytes": b"a" * 21, "all bytes": everything}
    texts["63"], texts["64"], texts["16383"], texts["16384"] = b"x" * 63, bytes(range(64)), everything * 64, everything * 65
    texts["long"], texts["longer"] = everything * 1000, b"compressible" * 300_000
    for name, text in texts.items():
        yield ["SET", f"text {name}", text]
    yield ["SET", everything, everything]
    yield ["SET", "ends", "soon", "PX", 3_600_000]
    yield ["SET", "ended", "gone", "PX", 1]
    for count in (1, 3, 127, 128, 129, 511, 512, 513, 5000):
        for width, word in (("narrow", "e{}"), ("numbers", "{}"), ("wide", "element {}" + "w" * 70)):
            elements = [word.format(n * (1 if n % 3 else -70_000)) for n in range(count)]
            name = f"{count} {width}"
            yield ["RPUSH", f"list {name}", *elements]
            yield ["SADD", f"set {name}", *elements]
            yield ["HSET", f"hash {name}", *(part for n, e in enumerate(elements) for part in (e, f"value {n}"))]
            yield ["ZADD", f"zset {name}", *(part for n, e in enumerate(elements) for part in (n / 7 - 50, e))]
    for bits in (7, 15, 31, 62):
        yield ["SADD", f"intset {bits}", *((n - 20) << (bits - 6) for n in range(40))]
    yield ["ZADD", "scores", "inf", "a", "-inf", "b", "0", "c", "1e-300", "d", "3", everything, "1.7976931348623157e308", "e"]
    yield ["RPUSH", "items", "", everything, "x" * 9000, "y" * 100_000, 12, -(1 << 40)]
    yield ["HSET", "fields", "", "", everything, everything, "v" * 64, "w" * 65, 12, -7]
    yield ["PFADD", "sketch", *range(1000)]
    yield ["SETBIT", "bits", 100_000, 1]
    yield ["EXPIRE", "list 513 narrow", 7200]
    yield from streams()
    yield ["FUNCTION", "LOAD", "REPLACE", LIBRARY]
    yield ["SELECT", 9]
    yield ["SET", "in nine", "x"]
    yield ["HSET", "hash in nine", "a", 1]
    yield ["SELECT", 0]


def streams():
    """Entries with and without the fields of their neighbours, deleted ones, groups with all that they can have."""
    for n in range(300):
        yield ["XADD", "stream", f"{n + 1}-{n % 3}", "field", n, "other" if n % 5 else "another", "v" * (n % 90)]
    yield ["XDEL", "stream", "7-0", "300-2"]
    yield ["XGROUP", "CREATE", "stream", "group", "3-2"]
    yield ["XGROUP", "CREATE", "stream", "idle", "0", "ENTRIESREAD", 0]
    yield ["XGROUP", "CREATECONSUMER", "stream", "idle", "nobody"]
    yield ["XREADGROUP", "GROUP", "group", "Ann", "COUNT", 20, "STREAMS", "stream", ">"]
    yield ["XREADGROUP", "GROUP", "group", bytes(range(256)), "COUNT", 7, "STREAMS", "stream", ">"]
    yield ["XACK", "stream", "group", "5-1", "6-2"]
    yield ["XCLAIM", "stream", "group", "Bob", 0, "11-1", "RETRYCOUNT", 9]
    # Pending, and gone from the stream.
    yield ["XDEL", "stream", "10-0"]
    yield ["XADD", "small stream", "5-1", "a", "b"]
    yield ["XADD", "wide stream", "5-1", "all", bytes(range(256)) * 300]
    yield ["XADD", "emptied stream", "5-1", "a", "b"]
    yield ["XDEL", "emptied stream", "5-1"]
    yield ["XGROUP", "CREATE", "made stream", "group", "$", "MKSTREAM"]
    for n in range(5000):
        yield ["XADD", "large stream", f"{1_700_000_000_000 + n // 3}-{n % 3 + 1}", "n", n, "text", "some words " * (n % 30)]
    yield ["XGROUP", "CREATE", "large stream", "group", "0"]
    yield ["XREADGROUP", "GROUP", "group", "Ann", "COUNT", 1200, "STREAMS", "large stream", ">"]
    yield ["XREADGROUP", "GROUP", "group", "Bob", "COUNT", 10, "STREAMS", "large stream", ">"]


def mixed(count, seed):
    """Six of ten are small strings, the rest collections, most of them small; every tenth key ends."""
    chance = random.Random(seed)
    for n in range(count):
        key, draw = f"{'user session cart counter feed'.split()[n % 5]}:{n}", chance.random()
        if draw < 0.6:
            yield ["SET", key, chance.randbytes(chance.randrange(60)) if n % 2 else chance.randrange(10**9)]
        else:
            size = chance.choice((1, 3, 5, 8, 12, 20) if draw < 0.99 else (150, 600, 1500))
            if draw < 0.7:
                yield ["RPUSH", key, *(chance.randrange(10**6) for _ in range(size))]
            elif draw < 0.8:
                yield ["SADD", key, *(chance.randrange(10**6) if n % 2 else f"m{chance.randrange(10**6)}" for _ in range(size))]
            elif draw < 0.9:
                yield ["HSET", key, *(part for f in range(size) for part in (f"field{f}", chance.randrange(10**6)))]
            else:
                yield ["ZADD", key, *(part for m in range(size) for part in (chance.random() * 100, f"player {m}"))]
        if n % 10 == 0:
            yield ["PEXPIREAT", key, 4_000_000_000_000 + n]


def fill(port, count, seed=1):
    server = Server(port)
    for source in (every_encoding(), mixed(int(count), int(seed))):
        batch = []
        for command in source:
            batch.append(command)
            if len(batch) == BATCH:
                server.all(batch)
                batch = []
        server.all(batch)


def whole(reply, is_followed=False):
    """XINFO STREAM FULL: maps as maps. Left out is what says how it lies in memory, and when a consumer was seen: its pending entries say
    when they were delivered. Redis 7.0 does not tell its replicas how much a group has read, so who follows doesn't know."""
    if not isinstance(reply, list):
        return reply
    if reply and isinstance(reply[0], bytes) and len(reply) % 2 == 0 and reply[0] in (b"length", b"name"):
        pairs = dict(zip(reply[::2], reply[1::2]))
        left_out = [b"radix-tree-keys", b"radix-tree-nodes", b"seen-time", b"active-time"]
        left_out += [b"entries-read", b"lag"] if is_followed else []
        return {name: whole(value, is_followed) for name, value in pairs.items() if name not in left_out}
    return [whole(part, is_followed) for part in reply]


def difference(ours, theirs, place=""):
    """Where two replies differ first, and how."""
    if type(ours) is not type(theirs) or not isinstance(ours, (dict, list)) or len(ours) != len(theirs):
        return f"{place}: {ours!r:.300} and {theirs!r:.300}"
    places = ours if isinstance(ours, dict) else range(len(ours))
    for at in places:
        if isinstance(ours, dict) and at not in theirs:
            return f"{place}: {at} in one only"
        if ours[at] != theirs[at]:
            return difference(ours[at], theirs[at], f"{place}/{at}")
    return ""


def codes(server):
    """The code of each library. Who knows none has none."""
    try:
        libraries = server.call("FUNCTION", "LIST", "WITHCODE")
    except RuntimeError:
        return []
    return sorted(dict(zip(library[::2], library[1::2]))[b"library_code"] for library in libraries)


def has_no_more(a, b, database):
    """DBSIZE would count keys that have ended until they are swept, on each side at its own time."""
    is_there = lambda server, keys: server.all([["EXISTS", key] for key in keys]) if keys else []
    for keys in b.keys():
        missing = [key for key, there in zip(keys, is_there(a, keys)) if not there]
        more = [key for key, there in zip(missing, is_there(b, missing)) if there]
        assert not more, f"database {database}: only the second has {more[:5]}"


def compare(first, second):
    a, b = Server(first), Server(second)
    assert codes(a) == codes(b), "the functions"
    assert a.databases() == b.databases(), f"databases {a.databases()} and {b.databases()}"
    count = 0
    for database in a.databases():
        a.call("SELECT", database), b.call("SELECT", database)
        for keys in a.keys():
            commands = [["DEBUG", "DIGEST-VALUE", *keys[at : at + 100]] for at in range(0, len(keys), 100)]
            commands += [["PEXPIRETIME", key] for key in keys]
            ours, theirs = a.all(commands), b.all(commands)
            if ours != theirs:
                for key in keys:
                    ask = lambda server: server.all([["DEBUG", "DIGEST-VALUE", key], ["PEXPIRETIME", key], ["TYPE", key]])
                    # One that ends between the two questions has ended for both when they are asked again.
                    assert ask(a) == ask(b) or ask(a) == ask(b), f"{key}: {ask(a)} and {ask(b)}"
            for key, kind in zip(keys, a.all([["TYPE", key] for key in keys])):
                if kind == b"stream":
                    asked = (server.call("XINFO", "STREAM", key, "FULL", "COUNT", 0) for server in (a, b))
                    ours, theirs = (whole(reply, key.startswith(b"live")) for reply in asked)
                    assert ours == theirs, f"{key}: {difference(ours, theirs)}"
            count += len(keys)
        has_no_more(a, b, database)
    print(f"{count} keys have equal digests and times")


READ = {
    b"string": lambda key: ["GET", key],
    b"list": lambda key: ["LRANGE", key, 0, -1],
    b"set": lambda key: ["SMEMBERS", key],
    b"zset": lambda key: ["ZRANGE", key, 0, -1, "WITHSCORES"],
    b"hash": lambda key: ["HGETALL", key],
    b"stream": lambda key: ["XINFO", "STREAM", key, "FULL", "COUNT", 0],
}


def agree(first, second):
    a, b = Server(first), Server(second)
    assert codes(a) == codes(b), "the functions"
    assert a.databases() == b.databases(), f"databases {a.databases()} and {b.databases()}"
    count = 0
    for database in a.databases():
        a.call("SELECT", database), b.call("SELECT", database)
        has_no_more(a, b, database)
        for keys in a.keys():
            kinds = a.all([["TYPE", key] for key in keys])
            for key, kind, ttls in zip(keys, kinds, zip(*(server.all([["PEXPIRETIME", key] for key in keys]) for server in (a, b)))):
                if kind == b"none":
                    continue
                ours, theirs = a.call(*READ[kind](key)), b.call(*READ[kind](key))
                if kind in (b"set", b"hash"):
                    pairs = lambda flat: sorted(zip(flat[::2], flat[1::2])) if kind == b"hash" else sorted(flat)
                    ours, theirs = pairs(ours), pairs(theirs)
                if kind == b"stream":
                    ours, theirs = whole(ours), whole(theirs)
                if kind == b"zset":
                    # Redis 7.0 writes more digits than a number needs.
                    ours, theirs = ([*zip(flat[::2], map(float, flat[1::2]))] for flat in (ours, theirs))
                assert ours == theirs, f"{kind} {key}: {difference(ours, theirs)}"
                assert abs(ttls[0] - ttls[1]) < 2000, f"{key} ends at {ttls}"
                count += 1
    print(f"{count} keys agree")


def write(port, file):
    """One client that waits for each batch: what it notes is what the server has acknowledged."""
    server, chance, written, is_ended = Server(port), random.Random(7), 0, []
    if not server.call("EXISTS", "live stream"):
        server.call("XGROUP", "CREATE", "live stream", "group", "$", "MKSTREAM")
    acknowledge = "for _, entry in ipairs(redis.call('XPENDING', KEYS[1], 'group', '-', '+', 3)) do redis.call('XACK', KEYS[1], 'group', entry[1]) end"
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: is_ended.append(True))
    while not is_ended:
        commands = []
        for _ in range(50):
            key = chance.randrange(500)
            commands += chance.choice(
                (
                    [["INCR", f"live counter {key}"]],
                    [["RPUSH", f"live list {key}", written], ["LTRIM", f"live list {key}", -20, -1]],
                    [["HSET", f"live hash {key}", f"field {chance.randrange(30)}", written]],
                    [["SADD", f"live set {key}", chance.randrange(100)], ["SPOP", f"live set {key}"]],
                    [["ZINCRBY", f"live zset {key}", 1.5, f"member {chance.randrange(30)}"]],
                    [["SET", f"live text {key}", "v" * chance.randrange(300), "EX", 5000]],
                    [["MULTI"], ["INCR", "live total"], ["APPEND", f"live log {key}", "x"], ["EXEC"]],
                    [["DEL", f"live list {key}", f"live hash {chance.randrange(500)}"]],
                    [["SELECT", 5], ["INCR", "live in five"], ["SELECT", 0]],
                    [["SET", f"live session {key % 50}", written, "PX", chance.randrange(200, 2000)]],
                    [["PEXPIRE", f"live session {key % 50}", 3_600_000]],
                    [["XADD", "live stream", "MAXLEN", "~", 2000, "*", "n", written, "key", key]],
                    [["XREADGROUP", "GROUP", "group", f"consumer {key % 3}", "COUNT", 4, "STREAMS", "live stream", ">"]],
                    [["XAUTOCLAIM", "live stream", "group", "consumer 9", 0, "0-0", "COUNT", 2]],
                    [["EVAL", acknowledge, 1, "live stream"]],
                )
            )
        server.all(commands)
        written += len(commands)
        # Who follows must get into step on any machine.
        time.sleep(max(0.0, began + written / RATE - time.monotonic()))
    with open(file, "w") as out:
        out.write(str(written))


if __name__ == "__main__":
    {"fill": fill, "compare": compare, "write": write, "agree": agree}[sys.argv[1]](*sys.argv[2:])

#!/usr/bin/env python3
"""pipelines.py - what rides in a pipeline: the same replies as redis-server, and the time that it takes.

  pipelines.py same  REDIS OURS [--seed N] [--rounds N]   random pipelines, replies compared byte for byte
  pipelines.py times SERVER [--rounds N]                  pipelines against plain SETs, as ratios; each should be below 5

REDIS, OURS, SERVER are host:port. Give it only scratch servers: they are FLUSHED.
Exit: 0 as it should be, 1 not.
"""
import argparse, random, socket, sys, time

def connect(address):
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(60)
    return connection

def encode(line):
    words = line.split(" ")
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)

def until(connection, end):
    """All bytes up to this end."""
    got = bytearray()
    while not got.endswith(end):
        more = connection.recv(1 << 20)
        if not more: raise SystemExit("the server has closed the connection after %r" % bytes(got[-200:]))
        got += more
    return bytes(got)

# A transaction, or a CLIENT REPLY, may be open.
ENDS = {"MULTI": ("DISCARD", "ECHO ~theend~"), "REPLY": ("CLIENT REPLY ON", "PING", "ECHO ~theend~")}
END_BYTES = b"$8\r\n~theend~\r\n"

def exchange(connection, lines, chunk=None, kind="REPLY"):
    data = b"".join(map(encode, [*lines, *ENDS[kind]]))
    # In small parts a run is cut wherever the bytes end.
    for at in range(0, len(data), chunk or len(data)):
        connection.sendall(data[at:at + (chunk or len(data))])
    return until(connection, END_BYTES)

# -------------------------------------------------------------------- the same
CALLS = ("PING ; PING hello ; ECHO x ; SELECT 0 ; SELECT 1 ; SELECT 99 ; MULTI ; MULTI ; EXEC ; EXEC ; EXEC ; DISCARD ; UNWATCH ; BOGUS x ; GET ; "
         "CLIENT GETNAME ; CLIENT REPLY OFF ; CLIENT REPLY ON ; CLIENT REPLY ON ; CLIENT REPLY SKIP ; SET k v ; SET k 1 ; SET l 5 ; GET k ; GET l ; INCR k ; "
         "INCR l ; APPEND k 1 ; DEL k ; MGET k l ; STRLEN k ; GETRANGE k 0 -1 ; GETSET k 7 ; EXISTS k l ; TYPE k ; DBSIZE ; SETRANGE big 70000 x ; "
         "GET big ; BITCOUNT big ; WATCH k ; OBJECT HELPME ; EXPIRE k 100 ; PERSIST k ; FLUSHDB").split(" ; ")
# CLIENT REPLY within MULTI is queued by Redis and refused here: pipelines of either kind, never of both.
KINDS = {"MULTI": ("CLIENT REPLY",), "REPLY": ("MULTI", "EXEC", "DISCARD")}

def same(options):
    rng = random.Random(options.seed)
    for number in range(options.rounds):
        kind = rng.choice(sorted(KINDS))
        calls = [call for call in CALLS if not call.startswith(KINDS[kind])]
        # One kind of call often stands beside another.
        calls = rng.choices(calls, k=rng.randint(3, 12)) if rng.random() < 0.6 else calls
        lines = [rng.choice(calls) for _ in range(rng.randint(2, 400))]
        chunk = rng.choice([None, None, 1000, 37])
        replies = []
        for address in (options.servers):
            connection = connect(address)
            exchange(connection, ["FLUSHALL"])
            replies.append(exchange(connection, lines, chunk, kind) + exchange(connection, ["SELECT 0", "MGET k l big", "SELECT 1", "MGET k l big"]))
            connection.close()
        if replies[0] != replies[1]:
            at = next(i for i, (a, b) in enumerate(zip(*replies)) if a != b) if replies[0][:len(replies[1])] != replies[1] else len(replies[1])
            print(f"round {number} of seed {options.seed} differs behind {replies[0][max(0, at - 200):at]!r}")
            print("  redis:", replies[0][at:at + 120], "\n  ours: ", replies[1][at:at + 120], "\n  calls:", " / ".join(lines)[:4000])
            return 1
    print(f"{options.rounds} pipelines, the same replies (seed {options.seed})")
    return 0

# ------------------------------------------------------------------- the times
PIPELINES = {
    "10,000 SETs": [f"SET k{i} v" for i in range(10000)],
    "5,000 pairs of PING and SET": [call for i in range(5000) for call in ("PING", f"SET k{i} v")],
    "10,000 SETs after CLIENT REPLY OFF": ["CLIENT REPLY OFF"] + [f"SET k{i} v" for i in range(10000)],
    "5,000 small transactions": [call for i in range(5000) for call in ("MULTI", f"SET k{i} v", "EXEC")],
    "5,000 SETs in alternating databases": [call for i in range(5000) for call in (f"SELECT {i % 2}", f"SET k{i} v")],
    "5,000 pairs of an unknown command and SET": [call for i in range(5000) for call in ("BOGUS", f"SET k{i} v")],
    "5,000 pairs of CLIENT REPLY SKIP and SET": [call for i in range(5000) for call in ("CLIENT REPLY SKIP", f"SET k{i} v")],
}

def timed(address, lines):
    connection = connect(address)
    exchange(connection, ["FLUSHALL"])
    data = b"".join(map(encode, [*lines, *ENDS["REPLY"]]))
    began = time.perf_counter()
    connection.settimeout(120)
    connection.sendall(data)
    until(connection, END_BYTES)
    took = time.perf_counter() - began
    connection.close()
    return took

def times(options):
    best = {name: min(timed(options.servers[0], lines) for _ in range(options.rounds)) for name, lines in PIPELINES.items()}
    plain = best["10,000 SETs"]
    for name, took in best.items(): print(f"{took * 1000:9.1f} ms  {took / plain:5.2f} times the plain ones  {name}")
    return 0 if all(took <= 5 * plain for took in best.values()) else 1

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("same", "times")); parser.add_argument("servers", nargs="+")
    parser.add_argument("--seed", type=int, default=1); parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    options.rounds = options.rounds or (300 if options.what == "same" else 5)
    sys.exit(same(options) if options.what == "same" else times(options))

if __name__ == "__main__":
    main()

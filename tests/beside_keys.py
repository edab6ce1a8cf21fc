#!/usr/bin/env python3
"""beside_keys.py - latencies of GETs (50 connections) and SETs (10) while another client is heavy; see beside_keys.sh."""
import argparse
import re
import socket
import subprocess
import threading
import time


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(60)

    def call(self, line):
        self.socket.sendall(line + b"\r\n")
        return self.socket.recv(1 << 16)


def fill(port, keys):
    """Every key once: 128 bytes, pipelined by 1,000."""
    client, value = Client(port), b"x" * 128
    for start in range(0, keys, 1000):
        lines = [b"SET key:%012d %s\r\n" % (number, value) for number in range(start, min(start + 1000, keys))]
        client.socket.sendall(b"".join(lines))
        missing = len(lines) * len(b"+OK\r\n")
        while missing > 0:
            missing -= len(client.socket.recv(1 << 16))
    assert client.call(b"DBSIZE") == b":%d\r\n" % keys


def benchmark(port, command, connections, keys, requests, out):
    """redis-benchmark's percentiles of one command, in ms: p50, p99, p99.9, the longest."""
    run = subprocess.run(
        ["redis-benchmark", "-p", str(port), "-t", command, "-c", str(connections), "-r", str(keys), "-d", "128",
         "-n", str(requests), "--precision", "3"], capture_output=True, text=True, check=True)
    at = [(float(p), float(ms)) for p, ms in re.findall(r"([\d.]+)% <= ([\d.]+) milliseconds", run.stdout)]
    rate = re.findall(r"throughput summary: ([\d.]+)", run.stdout)[-1]
    figures = [next((ms for p, ms in at if p >= wanted), 0.0) for wanted in (50, 99, 99.9, 100)]
    out[command] = f"{command.upper():3} c={connections}: {float(rate):.0f}/s, " + ", ".join(
        f"{name} {ms:.1f} ms" for name, ms in zip(("p50", "p99", "p99.9", "longest"), figures))


def beside(port, keys, seconds, what, heavy):
    """Runs both loads while `heavy(client)` is called again and again."""
    end, took, out = time.time() + seconds, [], {}
    loads = [threading.Thread(target=benchmark, args=(port, *load, out)) for load in
             (("get", 50, keys, 20000 * seconds), ("set", 10, keys, 3000 * seconds))]
    for load in loads:
        load.start()
    client = Client(port)
    while time.time() < end or any(load.is_alive() for load in loads):
        begun = time.time()
        heavy(client)
        took.append(time.time() - begun)
        time.sleep(0.2)
    for load in loads:
        load.join()
    print(f"beside {what} ({len(took)} times, the longest {1000 * max(took):.1f} ms):")
    for line in sorted(out.values()):
        print("   ", line)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keys", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    arguments = parser.parse_args()
    port, keys, seconds = arguments.port, arguments.keys, arguments.seconds
    fill(port, keys)
    beside(port, keys, seconds, "nothing", lambda client: None)
    beside(port, keys, seconds, "KEYS *nomatch*", lambda client: client.call(b"KEYS *nomatch*"))
    beside(port, keys, seconds, "SWAPDB 0 1", lambda client: client.call(b"SWAPDB 0 1"))
    beside(port, keys, seconds, "FLUSHALL", lambda client: client.call(b"FLUSHALL"))


if __name__ == "__main__":
    main()

"""A real service for the tests of its page, and clients that count what they send over a plain socket."""
import json
import math
import os
import random
import signal
import socket
import subprocess
import threading
import time
import urllib.request


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """One service; after a kill it starts again on the same ports, with the same data."""

    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.port, self.admin = free_port(), free_port()
        self.origin = f"http://127.0.0.1:{self.admin}"
        self.process = None

    def start(self):
        settings = {
            "LISTEN": f"127.0.0.1:{self.port}",
            "ADMIN_LISTEN": f"127.0.0.1:{self.admin}",
            "DATA": str(self.directory / "data"),
            "BACKUP_INTERVAL_SECONDS": "3600",
            "CACHE_BYTES": "64Mi",
            "WORKERS": "2",
        }
        environment = {f"EMPTYSERVER_{name}": value for name, value in settings.items()}
        with open(self.directory / "log", "a") as log:
            self.process = subprocess.Popen([self.program], env=environment, stderr=log)
        deadline = time.monotonic() + 30
        while not self.is_ready():
            assert self.process.poll() is None and time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.05)

    def is_ready(self):
        """Asked over HTTP alone: every command that the service counts is one that a test has sent."""
        try:
            with urllib.request.urlopen(f"{self.origin}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def status(self):
        with urllib.request.urlopen(f"{self.origin}/status.json", timeout=10) as answer:
            return json.load(answer)

    def status_when(self, condition):
        """The first status that fulfils the condition: one may be a tick old, as those who ask at once share it."""
        for _ in range(200):
            status = self.status()
            if condition(status):
                return status
            time.sleep(0.02)
        raise AssertionError(f"never came: {status}")

    def pid(self, name):
        return next(process["pid"] for process in self.status()["processes"] if process["name"] == name)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


class Client:
    """Sends pipelines and reads all replies; counts commands and bytes both ways."""

    def __init__(self, port):
        self.stream = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.replies = self.stream.makefile("rb")
        self.commands = self.sent = self.received = 0

    def call(self, *commands):
        """Each command is a tuple of words; the replies as their first lines, bulk strings as their text."""
        request = b"".join(encoded(command) for command in commands)
        self.stream.sendall(request)
        replies = [self.reply() for _ in commands]
        self.commands += len(commands)
        self.sent += len(request)
        return replies

    def line(self):
        line = self.replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the service ended the connection")
        self.received += len(line)
        return line[:-2].decode()

    def reply(self):
        line = self.line()
        if line[0] == "*":
            return [self.reply() for _ in range(int(line[1:]))]
        if line[0] == "$" and line != "$-1":
            return self.line()
        return line

    def close(self):
        self.replies.close()
        self.stream.close()


def encoded(words):
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Load(threading.Thread):
    """A mixed load on one connection, more of it and less in slow waves, until `stop`. One in four of them writes."""

    def __init__(self, port, number):
        super().__init__(daemon=True)
        self.client, self.random, self.writes = Client(port), random.Random(number), number % 4 == 0
        self.is_over, self.failure = threading.Event(), None
        if number % 8 in (4, 7):
            self.client.call(("SELECT", 3))

    def run(self):
        try:
            while not self.is_over.is_set():
                size = self.random.choice([1, 4, 16] if self.writes else [1, 1, 4])
                self.client.call(*(self.command() for _ in range(size)))
                wave = 1.4 + math.sin(time.monotonic() / 6) + 0.4 * math.sin(time.monotonic() / 1.7)
                self.is_over.wait(self.random.random() * 0.006 * wave)
        except OSError as failure:
            self.failure = failure

    def command(self):
        key, kind = f"user:{min(int(self.random.expovariate(1 / 1500)), 20000)}", self.random.random()
        if not self.writes:
            if kind < 0.9:
                return ("GET", key)
            return ("MGET", key, "counter:1", "counter:2") if kind < 0.95 else ("TTL", key) if kind < 0.98 else ("STRLEN", key)
        if kind < 0.75:
            return ("SET", key, "x" * self.random.randrange(20, 400))
        if kind < 0.9:
            return ("INCR", f"counter:{self.random.randrange(100)}")
        return ("EXPIRE", key, 60) if kind < 0.98 else ("DEL", key) if kind < 0.998 else ("INCR", key)

    def stop(self):
        self.is_over.set()
        self.join(30)
        assert self.failure is None and not self.is_alive(), self.failure
        self.client.close()

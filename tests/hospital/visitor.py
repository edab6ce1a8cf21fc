"""The example beside a real service, and a visitor that speaks HTTP: cookies, forms, and where an answer leads."""
import copy
import http.client
import os
import re
import secrets
import signal
import subprocess
import time
import urllib.parse

from service import Client, Service, free_port

PASSWORD = "correct horse battery"


class Hospital:
    """One example on one service."""

    def __init__(self, directory, *flags):
        self.directory, self.flags = directory, flags
        self.service = Service(os.path.abspath(os.environ["EMPTYSERVER_BIN"]), directory)
        self.service.start()
        self.port, self.process, self.log = free_port(), None, directory / "hospital.log"

    def start(self, *flags):
        command = [os.path.abspath(os.environ["HOSPITAL_BIN"]), "--service", f"redis://127.0.0.1:{self.service.port}",
                   "--listen", f"127.0.0.1:{self.port}", *self.flags, *flags]
        self.log.write_text("")
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(command, stderr=log)
        self.origin = f"http://127.0.0.1:{self.port}"
        deadline = time.monotonic() + 300
        while "the hospital is at" not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return self

    def beside(self, *flags):
        """One more program on the same service; `end_program` ends it."""
        other = copy.copy(self)
        other.port, other.log = free_port(), self.directory / "beside.log"
        return other.start(*flags)

    def end_program(self):
        self.process.terminate()
        assert self.process.wait(30) == 0

    def code(self):
        """Whoever has it makes the first account."""
        return re.search(r"code=(\w+)", self.log.read_text())[1]

    def store(self):
        return Store(self.service.port)

    def stop(self):
        for process in (self.process, self.service.process):
            if process and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)

    def first(self):
        """The first administrator."""
        visitor = Visitor(self.port)
        status, where, body = visitor.post("/setup", code=self.code(), login="chief", name="The Chief", password=PASSWORD)
        assert (status, where) == (303, "/"), (status, body)
        return visitor


class Store:
    """What the service has, past the example."""

    def __init__(self, port):
        self.client = Client(port)

    def ask(self, *words):
        return self.client.call(words)[0]

    def number(self, *words):
        return int(self.ask(*words).lstrip(":"))

    def record(self, key):
        flat = self.ask("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2]))


class Visitor:
    """Not a browser, but as honest as one: it sends the token of the last form that it was shown."""

    def __init__(self, port, cookies=None, csrf=""):
        self.port, self.cookies, self.csrf, self.headers = port, dict(cookies or {}), csrf, {}
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def again(self):
        """The same visitor in one more browser."""
        return Visitor(self.port, self.cookies, self.csrf)

    def ask(self, method, path, body=None):
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **self.headers}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if body is not None and answer.status != 200:
            # Who is turned away at the gate was not read to the end: the server closes behind the answer.
            self.connection.close()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                pair, *attributes = value.split("; ")
                name, value = pair.split("=", 1)
                assert name == "language" or "HttpOnly" in attributes and "SameSite=Lax" in attributes, attributes
                self.cookies[name] = value
        assert "⟦" not in text, (path, text[max(0, text.index("⟦") - 200):][:300])
        token = re.search(r'name="csrf" value="(\w+)"', text)
        if token:
            self.csrf = token[1]
        return answer.status, answer.getheader("location"), text

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, **fields):
        if not self.csrf:
            self.get("/login")
        fields = {"csrf": self.csrf, "entry": secrets.token_hex(8), "version": "", **fields}
        status, where, text = self.ask("POST", path, urllib.parse.urlencode(fields, doseq=True))
        if path in ("/login", "/setup") and status == 303:
            self.get("/")
        return status, where, text

    def create(self, module, **fields):
        """The number of the new record."""
        status, where, text = self.post(f"/{module}/new", **fields)
        assert status == 303, (module, fields, status, problems(text))
        return where.rsplit("/", 1)[1]

    def version(self, module, number):
        """As the form of a change has it."""
        status, _, text = self.get(f"/{module}/{number}")
        assert status == 200, status
        return re.search(r'name="version" value="(\d+)"', text)[1]

    def do(self, module, number, action, **fields):
        return self.post(f"/{module}/{number}/do/{action}", version=self.version(module, number), **fields)


def log_in(port, login, password=PASSWORD):
    visitor = Visitor(port)
    status, where, text = visitor.post("/login", login=login, password=password)
    assert (status, where) == (303, "/"), (login, status, problems(text))
    return visitor


def problems(text):
    """What a page complains of."""
    return re.findall(r'(?:class="wrong"|role="alert")[^>]*>([^<]+)<', text) or text[-800:]

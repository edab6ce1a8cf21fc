#!/usr/bin/env python3
"""The status page in a real browser, of a real service under a real load.

    status_page.py --program target/release/emptyserver [--screenshots docs/images]
"""
import argparse
import os
import pathlib
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time

from playwright.sync_api import expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 30_000


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.port, self.admin = free_port(), free_port()
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
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as stream:
                    stream.sendall(b"PING\r\n")
                    if stream.recv(7) == b"+PONG\r\n":
                        return
            except OSError:
                pass
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def child(self, name):
        """The process of that name among the supervisor's children."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name)


class Load(threading.Thread):
    """Commands on one connection, counted: three in four read, the others change. An end of the connection ends it."""

    def __init__(self, port, seed):
        super().__init__(daemon=True)
        self.writes = seed % 4 == 0
        self.port, self.random, self.sent, self.is_over = port, random.Random(seed), 0, threading.Event()

    def run(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as stream:
                replies = stream.makefile("rb")
                while not self.is_over.is_set():
                    commands = [self.command() for _ in range(self.random.choice([1, 4, 16] if self.writes else [1, 1, 4]))]
                    stream.sendall("".join(command + "\r\n" for command in commands).encode())
                    for _ in commands:
                        line = replies.readline()
                        if not line:
                            return
                        if line[:1] == b"$" and line != b"$-1\r\n":
                            replies.readline()
                    self.sent += len(commands)
                    self.is_over.wait(self.random.random() * 0.004)
        except OSError:
            pass

    def command(self):
        key = f"key:{min(int(self.random.expovariate(1 / 3000)), 20000)}"
        kind = self.random.random()
        if not self.writes:
            return f"GET {key}" if kind < 0.95 else f"STRLEN {key}"
        if kind < 0.8:
            return f"SET {key} {'x' * self.random.randrange(20, 400)}"
        if kind < 0.9:
            return f"INCR counter:{self.random.randrange(100)}"
        return f"EXPIRE {key} 60" if kind < 0.995 else f"INCR {key}"


def number(text):
    """12.3 k -> 12300; None for a dash."""
    text = text.strip()
    if text == "–":
        return None
    value, _, unit = text.partition(" ")
    return float(value.replace(",", "")) * {"": 1, "k": 1e3, "M": 1e6}[unit]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--screenshots", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        service = Service(os.path.abspath(arguments.program), pathlib.Path(scratch))
        service.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            look(service, browser, arguments.screenshots)
        finally:
            browser.close()
            service.kill()
    print("the status page shows what happens")


def look(service, browser, screenshots):
    context = browser.new_context(viewport={"width": 1240, "height": 1180}, color_scheme="light")
    page = context.new_page()
    complaints, elsewhere = [], []
    origin = f"http://127.0.0.1:{service.admin}"
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((origin, "data:")) else elsewhere.append(request.url))
    page.goto(origin)
    expect(page.locator("#state")).to_have_text("ready", timeout=PATIENCE_MS)

    loads = [Load(service.port, seed) for seed in range(8)]
    for load in loads:
        load.start()
    shown = page.locator("figure", has_text="Throughput").locator(".values b").first
    page.wait_for_function("element => /[1-9]/.test(element.textContent)", arg=shown.element_handle(), timeout=PATIENCE_MS)
    for title in ("Latency", "Cache hit rate", "Traffic", "Commit", "Commands in one commit", "Write-ahead file"):
        figure = page.locator("figure", has=page.locator("h3", has_text=title)).first
        handle = figure.locator(".values b").first.element_handle()
        page.wait_for_function("element => /[1-9]/.test(element.textContent)", arg=handle, timeout=PATIENCE_MS)
        assert figure.locator("svg").get_attribute("aria-label").startswith(f"{title}: "), title
    # A rate over some seconds is about what was sent in them.
    before, began = sum(load.sent for load in loads), time.monotonic()
    rates = []
    while time.monotonic() < began + 8:
        rates.append(number(shown.text_content()) or 0)
        page.wait_for_timeout(500)
    sent = (sum(load.sent for load in loads) - before) / (time.monotonic() - began)
    mean = sum(rates) / len(rates)
    assert 0.5 * sent < mean < 2 * sent, f"{mean} commands a second are shown, {sent} were sent"
    for name in ("get", "set", "incr"):
        expect(page.locator("#commands tbody tr", has_text=name).first).to_be_visible()
    assert page.locator("#processes tbody tr").count() == 5
    expect(page.locator("#databases tbody tr").first).to_contain_text("0")
    if screenshots:
        page.wait_for_timeout(45_000)
        picture(page, screenshots / "status-page.png")
        page.emulate_media(color_scheme="dark")
        picture(page, screenshots / "status-page-dark.png")
        page.emulate_media(color_scheme="light")

    # Light and dark are two; on a phone nothing sticks out.
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) != light, "dark is as light"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360, "it is wider than a phone"
    if screenshots:
        picture(page, screenshots / "status-page-phone.png")
    page.set_viewport_size({"width": 1240, "height": 1180})

    # The pointer, and the arrow keys, show an earlier moment.
    chart = page.locator("figure svg").first
    chart.focus()
    page.keyboard.press("ArrowLeft")
    expect(chart.locator(".cross")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(chart.locator(".cross")).to_have_count(0)

    # What does not serve is named.
    writer = service.child("write")
    os.kill(writer, signal.SIGSTOP)
    expect(page.locator("#state")).to_have_text("not ready", timeout=PATIENCE_MS)
    expect(page.locator("#reasons")).to_contain_text("the writer does not serve")
    os.kill(writer, signal.SIGCONT)
    expect(page.locator("#state")).to_have_text("ready", timeout=PATIENCE_MS)
    assert not complaints and not elsewhere, f"{complaints} {elsewhere}"

    # The end of the service and its return.
    for load in loads:
        load.is_over.set()
    service.kill()
    expect(page.locator("#state")).to_have_text("not reachable", timeout=PATIENCE_MS)
    assert "stale" in page.locator("body").get_attribute("class")
    service.start()
    expect(page.locator("#state")).to_have_text("ready", timeout=PATIENCE_MS)
    assert "stale" not in (page.locator("body").get_attribute("class") or "")
    assert not [rate for rate in page.evaluate("samples.map(sample => sample.commands)") if rate is not None and rate < 0], "a plunge"
    assert all("ERR_CONNECTION" in text or "ERR_EMPTY" in text for text in complaints), complaints
    assert not elsewhere, elsewhere


def picture(page, path):
    page.screenshot(path=str(path), full_page=True)
    print(f"{path}: {path.stat().st_size} bytes")


main()

#!/usr/bin/env python3
"""The status page in a real browser, of a real service under a load that is counted.

    EMPTYSERVER_BIN=target/release/emptyserver status_page.py [--screenshots docs/images]
"""
import argparse
import copy
import json
import os
import pathlib
import re
import signal
import tempfile
import urllib.parse

from playwright.sync_api import expect, sync_playwright
from service import Client, Load, Service

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 30_000
DESKTOP, PHONE = {"width": 1240, "height": 1000}, {"width": 360, "height": 740}
THIN = "\u202f"
CHARTS = ["Throughput", "Latency", "Traffic", "Connections", "Cache hit rate", "Keys", "Messages", "Client-side caches", "Commit",
          "Commands in one commit", "Write-ahead log", "Waiting for the merge", "Jobs", "Processor", "Memory", "Data on disk", "Checkpoints"]
expect.set_options(timeout=PATIENCE_MS)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--screenshots", type=pathlib.Path)
    arguments = parser.parse_args()
    program = os.path.abspath(os.environ["EMPTYSERVER_BIN"])
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        service = Service(program, pathlib.Path(scratch))
        service.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            if arguments.screenshots:
                take_pictures(browser, service, arguments.screenshots)
            else:
                for test in (figures_are_what_was_sent, light_dark_and_a_phone, what_the_service_says_is_text,
                             a_hidden_page_asks_less, the_end_and_the_return):
                    test(browser, service)
                    print(f"ok: {test.__name__.replace('_', ' ')}", flush=True)
        finally:
            browser.close()
            service.kill()


class Watched:
    """A page of which every complaint and every address that it asks is kept."""

    def __init__(self, browser, service, **options):
        self.context = browser.new_context(viewport=DESKTOP, color_scheme="light", **options)
        self.page, self.origin = self.context.new_page(), service.origin
        self.complaints, self.asked = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def open(self):
        self.page.goto(self.origin)
        return self.page

    def close(self, is_allowed=lambda complaint: False):
        self.context.close()
        complaints = [complaint for complaint in self.complaints if not is_allowed(complaint)]
        assert not complaints, complaints
        elsewhere = [url for url in self.asked if not url.startswith(("data:", self.origin + "/"))]
        assert self.asked and not elsewhere, elsewhere
        paths = {urllib.parse.urlsplit(url).path for url in self.asked if url.startswith("http")}
        assert paths == {"/", "/status.json"}, paths


def figure(page, title):
    return page.locator(f'figure[data-chart="{title}"]')


def row(page, table, name):
    """The cells of a row by their headings."""
    heads = page.locator(f"#{table} thead th").all_text_contents()
    cells = page.locator(f"#{table} tbody tr").filter(has=page.locator(f'th[scope="row"]:text-is("{name}")')).locator("th, td")
    return dict(zip(heads, cells.all_text_contents()))


def wait_for(page, condition, argument=None):
    page.wait_for_function(condition, arg=argument, timeout=PATIENCE_MS)


def figures_are_what_was_sent(browser, service):
    watched = Watched(browser, service)
    page = watched.open()
    expect(page.locator("#state")).to_have_text("ready")
    assert page.locator("figure").evaluate_all("all => all.map(one => one.dataset.chart)") == CHARTS
    expect(figure(page, "Throughput").locator(".note")).to_have_text("0 commands since the start, 0 errors")

    # The load: rates move while it runs.
    loads = [Load(service.port, number) for number in range(8)]
    for load in loads:
        load.start()
    for title in CHARTS:
        # A checkpoint may take less time than is shown, and no job may wait in the moment of the look. Of the load nobody listens, or caches.
        if title not in ("Checkpoints", "Jobs", "Messages", "Client-side caches"):
            wait_for(page, "title => /[1-9]/.test(document.querySelector(`[data-chart='${title}'] .values b`).textContent)", title)
    wait_for(page, "() => new Set(samples.map(sample => sample.commands)).size > 4")
    expect(figure(page, "Connections").locator(".values b")).to_have_text("8")
    for load in loads:
        load.stop()

    # What is known to the last one.
    client = Client(service.port)
    client.call(("FLUSHALL",), ("SELECT", "5"))
    for start in range(0, 1000, 250):
        client.call(*(("SET", f"key:{number}", "x" * 100) for number in range(start, start + 250)))
    client.call(*(("EXPIRE", f"key:{number}", 3600) for number in range(70)))
    client.call(*(("GET", f"key:{number}") for number in range(400)), ("SELECT", "0"), ("SET", "alone", "text"))
    errors = client.call(*[("INCR", "alone")] * 17)
    assert all(error.startswith("-ERR") for error in errors), errors
    # Who listens, and who has a cache of its own; the first one is told for the second.
    listener, reader = Client(service.port), Client(service.port)
    [number] = listener.call(("CLIENT", "ID"))
    listener.call(("SUBSCRIBE", "news"))
    assert client.call(*[("PUBLISH", "news", "text")] * 20) == [":1"] * 20
    assert all(listener.reply() == ["message", "news", "text"] for _ in range(20))
    reader.call(("CLIENT", "TRACKING", "ON", "REDIRECT", number[1:]), ("GET", "alone"))
    clients = [client, listener, reader, *(load.client for load in loads)]
    commands = sum(one.commands for one in clients)
    status = service.status_when(lambda status: status["commands"]["total"] == commands)
    note = figure(page, "Throughput").locator(".note")
    expect(note).to_have_text(f"{commands:,} commands since the start, {status['commands']['errors_total']:,} errors")
    expect(figure(page, "Keys").locator(".values b").first).to_have_text(f"1{THIN}k")
    expect(figure(page, "Messages").locator(".note")).to_have_text("1 subscriber, 1 channel")
    expect(figure(page, "Client-side caches").locator(".values b")).to_have_text("1")
    expect(figure(page, "Client-side caches").locator(".note")).to_have_text("1 client told of changes")
    assert row(page, "databases", "5") == {"database": "5", "keys": "1,000", "that expire": "70"}
    assert row(page, "databases", "0") == {"database": "0", "keys": "1", "that expire": "0"}
    by_name = {one["name"]: one for one in status["commands"]["by_name"]}
    for name in ("get", "set", "incr", "mget", "expire"):
        shown = row(page, "commands", name)
        assert shown["calls"] == f"{by_name[name]['calls']:,}" and shown["failed"] == f"{by_name[name]['failed']:,}", shown
    assert int(row(page, "commands", "incr")["failed"].replace(",", "")) >= 17

    # What the charts drew adds up to what was sent: no interval is lost or counted twice.
    def drawn(key):
        return page.evaluate("key => samples.reduce((sum, sample) => sum + (sample[key] ?? 0) * sample.seconds, 0)", key)
    assert abs(drawn("commands") - commands) < 1, (drawn("commands"), commands)
    assert abs(drawn("published") - 20) < .1 and abs(drawn("delivered") - 20) < .1, (drawn("published"), drawn("delivered"))
    for key, counted in (("received", "sent"), ("sent", "received")):
        total = sum(getattr(one, counted) for one in clients)
        assert abs(drawn(key) - total) < 1, (key, drawn(key), total)
    odd = page.evaluate("samples.filter(sample => sample.p50 > sample.p99 || sample.hits > 1 || sample.processor > 64)")
    assert not odd, odd

    processes = page.locator("#processes tbody th").all_text_contents()
    assert processes == ["worker-0", "worker-1", "writer", "admin", "supervisor"], processes
    assert row(page, "processes", "writer")["state"] == "serving"
    expect(page.locator("#backups")).to_contain_text("backup-")
    pointing(page)
    for_everybody(page)

    # CONFIG RESETSTAT: a gap, and no plunge.
    client.call(("CONFIG", "RESETSTAT"))
    expect(note).to_have_text(re.compile(r"^[012] commands? since the start, 0 errors$"))
    no_plunge(page)
    for one in (client, listener, reader):
        one.close()
    watched.close()


def pointing(page):
    """An earlier moment, with the pointer and with the keys."""
    picture = figure(page, "Latency").locator("svg")
    box = picture.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.97, box["y"] + box["height"] / 2)
    expect(picture.locator(".when")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d, \d+\u202fs ago$"))
    expect(page.locator(".cross")).to_have_count(len(CHARTS))
    page.mouse.move(0, 0)
    expect(page.locator(".cross")).to_have_count(0)
    picture.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#spoken")).to_have_text(re.compile(r"^[23]\u202fs ago, Latency: .+ p50, .+ p99$"))
    expect(page.locator(".cross")).to_have_count(len(CHARTS))
    page.keyboard.press("Escape")
    expect(page.locator(".cross")).to_have_count(0)


def for_everybody(page):
    """What a screen reader, a keyboard and somebody whom motion troubles rely on."""
    wrong = page.evaluate("""() => [
        ...[...document.querySelectorAll("figure svg")].filter(svg => svg.getAttribute("role") !== "img" || svg.tabIndex !== 0
            || !svg.getAttribute("aria-label").startsWith(svg.closest("figure").dataset.chart + ": ")
            || !svg.getAttribute("aria-label").includes(svg.closest("figure").querySelector("b").textContent)).map(svg => svg.outerHTML.slice(0, 200)),
        ...[...document.querySelectorAll("table")].filter(table => !table.caption?.textContent.trim()
            || [...table.querySelectorAll("th")].some(th => !th.scope || !th.textContent)).map(table => table.id),
        ...[...document.querySelectorAll("section")].filter(section => !section.getAttribute("aria-label")
            && !document.getElementById(section.getAttribute("aria-labelledby"))?.textContent).map(() => "a section without a name"),
    ]""")
    assert not wrong, wrong
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(heading => Number(heading.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1, levels
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("#told").get_attribute("aria-live") == "polite" and page.locator("#told #state, #told #reasons").count() == 2
    motion = "getComputedStyle(document.querySelector('main')).transitionDuration"
    assert page.evaluate(motion) != "0s"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(motion) == "0s"
    page.emulate_media(reduced_motion="no-preference")


def no_plunge(page):
    below = page.evaluate("""() => samples.flatMap(sample => Object.entries(sample)).filter(([, value]) => value < 0)""")
    assert not below, below
    outside = page.evaluate("""() => [...document.querySelectorAll("figure svg")].flatMap(svg => [...svg.querySelectorAll("path.line")].filter(path => {
        const box = path.getBBox();
        return path.getAttribute("d") && (box.y < -.1 || box.y + box.height > svg.viewBox.baseVal.height + .1);
    }).map(path => svg.getAttribute("aria-label")))""")
    assert not outside, outside
    broken = page.evaluate("[...document.querySelectorAll('path')].filter(path => /NaN|undefined|Infinity/.test(path.getAttribute('d'))).length")
    assert not broken, broken


CONTRAST = """() => {
    const channels = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(n => n / 255).map(n => n <= .03928 ? n / 12.92 : ((n + .055) / 1.055) ** 2.4);
    const light = colour => { const [r, g, b] = channels(colour); return .2126 * r + .7152 * g + .0722 * b; };
    const probe = document.body.appendChild(document.createElement("i"));
    const of = name => { probe.style.color = `var(--${name})`; return light(getComputedStyle(probe).color); };
    const ground = of("ground");
    const found = ["ink", "dim", "one", "two", "good", "bad", "wait"].map(name => [name, of(name)])
        .map(([name, l]) => [name, (Math.max(l, ground) + .05) / (Math.min(l, ground) + .05)]).filter(([, ratio]) => ratio < 4.5);
    probe.remove();
    return found;
}"""


def light_dark_and_a_phone(browser, service):
    watched = Watched(browser, service)
    page = watched.open()
    expect(page.locator("#state")).to_have_text("ready")
    colours = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours[scheme] = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
        weak = page.evaluate(CONTRAST)
        assert not weak, f"{scheme}: too little contrast: {weak}"
    assert not set(colours["light"]) & set(colours["dark"]), colours
    page.set_viewport_size(PHONE)
    fits(page, PHONE["width"])
    for width in (620, 800, 1000):
        page.set_viewport_size({"width": width, "height": 740})
        fits(page, width)
    watched.close()


def fits(page, width):
    """Nothing is wider than the window, and no figure runs into the one beside it."""
    wait_for(page, "width => [...charts].every(chart => Math.abs(chart.width - chart.picture.getBoundingClientRect().width) <= 1) && innerWidth === width", width)
    outside = page.evaluate("""width => [...document.querySelectorAll("body *:not(.hidden):not(svg *)")].filter(element => {
        const box = element.getBoundingClientRect();
        return box.width && (box.right > width + .5 || box.left < -.5);
    }).map(element => element.outerHTML.slice(0, 120))""", width)
    assert not outside, (width, outside)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "there is a scroll bar"
    crowded = page.evaluate("""() => [...document.querySelectorAll("figure .values, figure .note, td:not(.words), dd")]
        .filter(element => element.scrollWidth > element.clientWidth + 1).map(element => element.textContent)""")
    assert not crowded, (width, crowded)


def what_the_service_says_is_text(browser, service):
    """Texts that would be tags, figures that are huge, and every state, as a service might tell them."""
    trap = "<img src=x onerror=alert(1)>"
    told = service.status()
    huge = json.loads(re.sub(r'("[a-z0-9_]*(?:bytes|_total|keys|expires|calls|failed|rejected)"): (\d+)', r"\1: 123456789012345", json.dumps(told)))
    huge |= {"version": trap, "listen": "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "reasons": [trap, "writes fail"], "ready": False}
    huge["commands"]["by_name"] = [{**one, "name": trap if not i else one["name"]} for i, one in enumerate(huge["commands"]["by_name"])]
    huge["processes"][0]["name"] = huge["processes"][0]["state"] = huge["lanes"][0]["name"] = trap
    huge["backup"] = {"is_running": True, "pages_done": 3, "pages_total": 4, "last_success_ms": 1, "last_failed": True, "last_name": trap, "interval_seconds": 90}
    answers = {"now": huge}

    def answer(route):
        answers["now"]["now_ms"] += 1000
        route.fulfill(**({"status": answers["code"], "body": "no"} if "code" in answers else {"json": answers["now"]}))
    watched = Watched(browser, service)
    watched.page.route("**/status.json", answer)
    page = watched.open()
    expect(page.locator("#state")).to_have_text("not ready")
    expect(page.locator("#reasons li")).to_have_text([trap, "writes fail", "the last backup failed", "memory is near its limit"])
    expect(page.locator("#commands tbody th").first).to_have_text(trap)
    expect(page.locator("#processes tbody th").first).to_have_text(trap)
    expect(page.locator("#backups")).to_contain_text(f"running, 75{THIN}% of 4 pages")
    expect(page).to_have_title("not ready · emptyServer")
    assert page.locator("img").count() == 0
    for viewport in (DESKTOP, PHONE):
        page.set_viewport_size(viewport)
        fits(page, viewport["width"])

    calm = copy.deepcopy(told)
    calm["now_ms"], calm["backup"] = huge["now_ms"] + 1000, None
    answers["now"] = calm | {"ready": False, "draining": True, "reasons": ["draining"]}
    expect(page.locator("#state")).to_have_text("draining")
    expect(page.locator("#backup")).to_be_hidden()
    answers["now"] = calm | {"ready": True, "reasons": [], "disk": told["disk"] | {"is_nearly_full": True}}
    expect(page.locator("#state")).to_have_text("ready")
    expect(page.locator("#reasons li").first).to_have_text("the disk is nearly full")
    # A service that was started again, and has counted further than the one before: that is no rate.
    total = calm["commands"]["total"]
    for uptime, later_ms in ((2, 0), (1, 0), (10, 60_000)):
        total += 10**9
        answers["now"] = calm | {"uptime_seconds": uptime, "now_ms": answers["now"]["now_ms"] + later_ms, "commands": calm["commands"] | {"total": total}}
        expect(figure(page, "Throughput").locator(".note")).to_contain_text(f"{total:,} commands")
        assert page.evaluate("Math.max(...samples.map(sample => sample.commands ?? 0))") < 1e6
    no_plunge(page)
    answers["code"] = 503
    expect(page.locator("#state")).to_have_text("not reachable")
    expect(page.locator("#reasons")).to_have_text("the answer is HTTP 503")
    watched.close(lambda complaint: "503" in complaint)


def a_hidden_page_asks_less(browser, service):
    watched = Watched(browser, service)
    page = watched.page
    page.clock.install()
    watched.open()
    expect(page.locator("#state")).to_have_text("ready")

    def asked_in(milliseconds, at_least):
        """One step of the clock for each question: the answers come from outside of it."""
        before = page.evaluate("samples.length")
        for _ in range(milliseconds // 500):
            page.clock.run_for(500)
            wait_for(page, "() => !isLooking")
        asked = page.evaluate("samples.length") - before
        assert asked >= at_least, asked
        return asked
    assert asked_in(10_000, at_least=8) <= 11
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true, configurable: true })")
    asked_in(1_000, at_least=0)
    assert asked_in(20_000, at_least=1) <= 2
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    wait_for(page, "() => !isLooking")
    asked_in(3_000, at_least=2)
    watched.close()


def the_end_and_the_return(browser, service):
    watched = Watched(browser, service)
    page = watched.open()
    expect(page.locator("#state")).to_have_text("ready")
    client = Client(service.port)
    client.call(*(("SET", f"kept:{number}", "x") for number in range(500)))
    client.close()
    throughput = figure(page, "Throughput").locator(".note")
    expect(throughput).not_to_have_text(re.compile(r"^\d{1,2} "))

    # What does not serve is named.
    writer = service.pid("writer")
    os.kill(writer, signal.SIGSTOP)
    try:
        expect(page.locator("#state")).to_have_text("not ready")
        expect(page.locator("#reasons")).to_have_text("the writer does not serve")
    finally:
        os.kill(writer, signal.SIGCONT)
    expect(page.locator("#state")).to_have_text("ready")
    expect(page.locator("#reasons li")).to_have_count(0)
    assert not watched.complaints, watched.complaints

    # A kill: the old figures stay, greyed.
    before = throughput.text_content()
    service.kill()
    expect(page.locator("#state")).to_have_text("not reachable")
    expect(page.locator("#silence")).to_contain_text("old. It is tried again every second.")
    expect(page).to_have_title("not reachable · emptyServer")
    wait_for(page, "() => Number(getComputedStyle(document.querySelector('main')).opacity) < .9")
    assert throughput.text_content() == before and page.evaluate("samples.length") > 3

    service.start()
    expect(page.locator("#state")).to_have_text("ready")
    expect(page.locator("#silence")).to_be_hidden()
    expect(throughput).to_have_text("0 commands since the start, 0 errors")
    client = Client(service.port)
    client.call(*[("GET", "kept:1")] * 50)
    expect(throughput).to_have_text("50 commands since the start, 0 errors")
    client.close()
    wait_for(page, "() => Number(getComputedStyle(document.querySelector('main')).opacity) === 1")
    no_plunge(page)
    gaps = page.evaluate("samples.filter(sample => sample.isAfterGap).map(sample => sample.commands)")
    assert gaps == [None, None], gaps
    watched.close(lambda complaint: "ERR_CONNECTION" in complaint or "ERR_EMPTY" in complaint)


def take_pictures(browser, service, directory):
    """After 85 seconds of a mixed load; in 256 colours, which is all that the page has."""
    from PIL import Image

    directory.mkdir(parents=True, exist_ok=True)
    wide, phone = (Watched(browser, service, device_scale_factor=scale) for scale in (1.5, 2))
    phone.page.set_viewport_size(PHONE)
    pages = [watched.open() for watched in (wide, phone)]
    loads = [Load(service.port, number) for number in range(24)]
    for load in loads:
        load.start()
    for page in pages:
        page.wait_for_function("() => samples.length > 85", timeout=150_000)
    names = [(pages[0], "light", "status-page"), (pages[0], "dark", "status-page-dark"), (pages[1], "light", "status-page-phone")]
    for page, scheme, name in names:
        page.emulate_media(color_scheme=scheme)
        path = directory / f"{name}.png"
        clip = {"x": 0, "y": 0, "width": 360, "height": 1500} if page is pages[1] else None
        page.screenshot(path=path, full_page=True, clip=clip)
        Image.open(path).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size} bytes")
        assert path.stat().st_size < 200_000, path
    for load in loads:
        load.stop()
    for watched in (wide, phone):
        watched.close()


main()

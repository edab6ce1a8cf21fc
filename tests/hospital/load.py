#!/usr/bin/env python3
"""How long pages take with 5,000 patients while 50 browsers ask: each for one page after the other, with a person's pauses and without any.

    EMPTYSERVER_BIN=… HOSPITAL_BIN=… load.py
"""
import concurrent.futures
import pathlib
import random
import tempfile
import time

from visitor import Hospital

BROWSERS, SECONDS = 50, 20
PAGES = ["/", "/patients", "/patients?q=anna", "/patients?page=150", "/patients/{}", "/patients/{}/change", "/patients/new", "/admissions?in=open",
         "/wards/3/beds", "/doctors/5/day", "/bookings", "/cases", "/cases/{}", "/prescriptions", "/prescriptions/new", "/drugs", "/audit"]


def main():
    with tempfile.TemporaryDirectory() as scratch:
        hospital = Hospital(pathlib.Path(scratch)).start("--demo")
        try:
            chief = hospital.first()
            print(f"load average before: {pathlib.Path('/proc/loadavg').read_text().split()[0]}")
            for pause in (1.0, 0.0):
                measure(chief, pause)
        finally:
            hospital.stop()


def measure(chief, pause):
    end = time.monotonic() + SECONDS

    def browse(number):
        browser, luck, times = chief.again(), random.Random(number), []
        time.sleep(luck.random() * pause)
        while time.monotonic() < end:
            # One in twenty is an entry.
            began = time.monotonic()
            if luck.random() < 0.05:
                status, _, _ = browser.post("/notices/new", title="Load", text="x", until="2026-01-01")
                assert status == 303, status
            else:
                status, _, _ = browser.get(luck.choice(PAGES).format(luck.randrange(1, 1500)))
                assert status == 200, status
            times.append(time.monotonic() - began)
            time.sleep(luck.uniform(0, 2 * pause))
        return times

    with concurrent.futures.ThreadPoolExecutor(BROWSERS) as pool:
        times = sorted(time for all_of_one in pool.map(browse, range(BROWSERS)) for time in all_of_one)
    p50, p99 = (times[int(len(times) * part)] * 1000 for part in (0.5, 0.99))
    print(f"{BROWSERS} browsers, {pause:.0f} s between pages: {len(times) / SECONDS:.0f} pages/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
          f"longest {times[-1] * 1000:.0f} ms")


if __name__ == "__main__":
    main()

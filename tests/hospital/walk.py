#!/usr/bin/env python3
"""A person's way through every module, in a real browser, with the keyboard where that is asked; axe-core looks at every page.

    EMPTYSERVER_BIN=… HOSPITAL_BIN=… walk.py [--screenshots docs/images]
"""
import argparse
import pathlib
import re
import tempfile
import time

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from visitor import Hospital, PASSWORD

CHROMIUM = "/usr/bin/chromium"
DESKTOP, PHONE = {"width": 1240, "height": 860}, {"width": 360, "height": 740}
expect.set_options(timeout=30_000)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--screenshots", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        hospital = Hospital(pathlib.Path(scratch)).start(*(["--demo"] if arguments.screenshots else []))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            if arguments.screenshots:
                take_pictures(browser, hospital, arguments.screenshots)
            else:
                walk(browser, hospital)
        finally:
            browser.close()
            hospital.stop()


class Walker:
    """A page that is looked at after each step."""

    def __init__(self, browser, hospital, **options):
        # No page has a script: what it needs one for would show here.
        self.context = browser.new_context(viewport=DESKTOP, color_scheme="light", locale="en-GB", **options)
        self.page, self.origin = self.context.new_page(), hospital.origin
        self.complaints, self.asked, self.looked_at, self.scheme = [], [], set(), "light"
        self.page.set_default_timeout(30_000)
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def go(self, path):
        self.page.goto(self.origin + path)
        self.look()

    def look(self, again=False):
        """No fault that axe-core calls serious, no text that is missing, nothing wider than the screen."""
        page = self.page
        kind = (re.sub(r"\d+", "1", page.url), page.locator(".refusal").count(), self.scheme, page.viewport_size["width"])
        if again or kind not in self.looked_at:
            self.looked_at.add(kind)
            # Other colours and sizes are the same document: what they change is contrast.
            is_same = self.scheme == "dark" or page.viewport_size["width"] != DESKTOP["width"]
            rules = {"runOnly": {"type": "rule", "values": ["color-contrast"]}} if is_same else {}
            found = Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
            serious = [(fault["id"], [node["html"] for node in fault["nodes"]][:3]) for fault in found if fault["impact"] in ("serious", "critical")]
            assert not serious, (page.url, serious)
        assert "⟦" not in page.content(), page.url
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, (page.url, wide)

    def paint(self, scheme):
        self.scheme = scheme
        self.page.emulate_media(color_scheme=scheme)

    def fill(self, **fields):
        for name, value in fields.items():
            field = self.page.locator(f'main [name="{name}"]').first
            if field.evaluate("one => one.tagName") == "SELECT":
                field.select_option(label=value)
            elif field.get_attribute("type") == "checkbox":
                for day in value:
                    self.page.locator(f'[name="{name}"][value="{day}"]').check()
            else:
                field.fill(value)

    def press(self, text):
        self.page.locator("main").get_by_role("button", name=text, exact=True).first.click()
        self.look()

    def follow(self, text):
        self.page.get_by_role("link", name=text, exact=True).first.click()
        self.look()

    def enter(self, module, **fields):
        """From the menu to the list, to the form, to the record: its number."""
        self.follow(module)
        self.follow("New")
        self.fill(**fields)
        self.press("Save")
        expect(self.page.locator(".refusal")).to_have_count(0)
        return re.search(r"/(\d+)$", self.page.url)[1]

    def sees(self, text):
        expect(self.page.locator("main")).to_contain_text(text)

    def close(self):
        self.context.close()
        assert not self.complaints, self.complaints
        elsewhere = [url for url in self.asked if not url.startswith(("data:", self.origin + "/"))]
        assert self.asked and not elsewhere, elsewhere


def walk(browser, hospital):
    walker = Walker(browser, hospital)
    began = time.monotonic()
    for part in (set_up, dictionary_and_house, doctors_and_bookings, patients_and_beds, cases_and_drugs, notices_and_accounts, audit_and_backups,
                 both_languages, dark_and_phone, keyboard):
        part(walker, hospital)
        print(f"ok: {part.__name__.replace('_', ' ')} ({time.monotonic() - began:.1f} s)", flush=True)
        began = time.monotonic()
    print(f"    {len(walker.looked_at)} different pages looked at by axe-core", flush=True)
    walker.close()


def set_up(walker, hospital):
    walker.go(f"/setup?code={hospital.code()}")
    walker.fill(login="chief", name="The Chief", password="short")
    walker.press("Save")
    walker.sees("At least 10 characters.")
    walker.fill(login="chief", name="The Chief", password=PASSWORD)
    walker.press("Save")
    expect(walker.page).to_have_title("Overview · Hospital")
    walker.page.get_by_role("button", name="Log out").click()
    walker.fill(login="chief", password="something wrong")
    walker.press("Log in")
    walker.sees("Login or password is wrong.")
    log_in(walker)


def log_in(walker, login="chief"):
    walker.fill(login=login, password=PASSWORD)
    walker.press("Log in")
    expect(walker.page).to_have_title("Overview · Hospital")


def dictionary_and_house(walker, _):
    for group, english, chinese in (("Departments", "Surgery", "外科"), ("Diagnoses", "Appendicitis", "阑尾炎"), ("Diagnoses", "Flu", "流感"),
                                    ("Drug forms", "Tablet", "片剂"), ("Blood groups", "A+", "A+")):
        walker.enter("Dictionary", list=group, english=english, chinese=chinese)
    walker.follow("Dictionary")
    walker.page.locator(".tabs").get_by_role("link", name="Diagnoses").click()
    expect(walker.page.locator("tbody tr")).to_have_count(2)
    # A word that nothing refers to goes, one that is in use stays.
    walker.follow("3")
    walker.press("Remove")
    expect(walker.page.locator("tbody tr")).to_have_count(4)
    walker.enter("Wards", name="Ward East", department="Surgery", floor="2")
    walker.follow("Surgery")
    walker.press("Remove")
    walker.sees("It stays: other records refer to it.")
    for bed in ("E-1", "E-2"):
        walker.enter("Beds", name=bed, ward="Ward East")
    walker.follow("Beds")
    walker.follow("New")
    walker.fill(name="E-1", ward="Ward East")
    walker.press("Save")
    walker.sees("another record has this name or number already")
    walker.fill(name="E-3")
    walker.press("Save")
    walker.sees("E-3")


def doctors_and_bookings(walker, _):
    walker.enter("Doctors", name="Dr Grace Li", department="Surgery", days=["1", "2", "3"], **{"from": "09:00", "to": "11:00"}, slot_minutes="30")
    walker.sees("Mon Tue Wed")
    walker.enter("Patients", name="Anna Adams", identity="A-1", born="1980-02-29", sex="female", phone="555-1", blood_group="A+")
    walker.enter("Patients", name="王小明", identity="A-2", born="1990-05-01", sex="male")
    walker.enter("Patients", name="Anna Baker", identity="A-3", born="2001-01-01", sex="female")
    walker.follow("Doctors")
    walker.follow("1")
    walker.follow("Day")
    walker.page.fill("#date", "2027-03-01")
    walker.press("Show")
    expect(walker.page.locator(".tiles li")).to_have_count(4)
    walker.page.locator(".tiles li", has_text="09:30").get_by_role("link").click()
    walker.fill(patient="anna", reason="Pain")
    walker.press("Save")
    walker.sees("Several have this: choose one.")
    walker.fill(patient="Anna Baker")
    walker.press("Save")
    walker.sees("Anna Baker")
    walker.go("/doctors/1/day?date=2027-03-01")
    expect(walker.page.locator(".tiles li.free")).to_have_count(3)
    walker.follow("Booking 1")
    walker.press("Cancel it")
    walker.sees("cancelled")
    walker.go("/doctors/1/day?date=2027-03-01")
    expect(walker.page.locator(".tiles li.free")).to_have_count(4)
    walker.enter("Bookings", patient="小明", doctor="Dr Grace Li", date="2027-03-02", time="10:30")
    walker.follow("Bookings")
    walker.page.fill("#in", "2027-03-02")
    walker.press("Show")
    expect(walker.page.locator("tbody tr")).to_have_count(1)


def patients_and_beds(walker, _):
    walker.follow("Patients")
    walker.page.fill("#q", "ada ann")
    walker.press("Search")
    expect(walker.page.locator("tbody tr")).to_have_count(1)
    walker.follow("1")
    walker.follow("Change")
    walker.fill(phone="555-2", allergies="Penicillin")
    walker.press("Save")
    walker.sees("Penicillin")
    walker.follow("Admit")
    walker.fill(bed="E-1", doctor="Dr Grace Li", diagnosis="Appendicitis")
    walker.press("Save")
    walker.sees("E-1")
    walker.go("/wards/1/beds")
    expect(walker.page.locator(".tiles li.free")).to_have_count(2)
    walker.follow("Anna Adams")
    walker.fill(bed="E-2")
    walker.press("Move to another bed")
    walker.sees("E-2")
    walker.press("Discharge")
    walker.sees("discharged")
    walker.go("/wards/1/beds")
    expect(walker.page.locator(".tiles li.free")).to_have_count(3)
    with walker.page.expect_download() as download:
        walker.page.goto(walker.origin + "/patients")
        walker.page.get_by_role("link", name="As CSV").click()
    assert "王小明" in pathlib.Path(download.value.path()).read_text()


def cases_and_drugs(walker, _):
    walker.enter("Cases", patient="A-1", doctor="Dr Grace Li", diagnosis="Appendicitis", complaint="Pain in the belly", treatment="Operation")
    walker.sees("Anna Adams")
    for name in ("Ibuprofen", "Morphine"):
        walker.enter("Drugs", name=name, form="Tablet", strength="400 mg", stock_min="10")
        walker.fill(amount="20")
        walker.press("Stock")
        walker.sees("20")
    walker.enter("Prescriptions", patient="1", doctor="Dr Grace Li", drug1="Ibuprofen", amount1="15", dose1="1-0-1", drug2="Morphine", amount2="2")
    walker.go("/")
    walker.sees("5 / 10")
    walker.follow("Prescriptions")
    walker.follow("New")
    walker.fill(patient="1", doctor="Dr Grace Li", drug1="Morphine", amount1="1", drug2="Ibuprofen", amount2="6")
    walker.press("Save")
    walker.sees("nothing was taken")
    walker.fill(amount2="")
    walker.press("Save")
    walker.sees("A drug needs an amount")
    walker.go("/prescriptions/1")
    walker.press("Take it back")
    walker.go("/drugs/1")
    walker.sees("20")


def notices_and_accounts(walker, hospital):
    walker.enter("Notices", title="Fire drill", text="On <Friday> & all", until="2999-01-01")
    walker.go("/")
    walker.sees("On <Friday> & all")
    walker.enter("Accounts", login="Nina", name="Nina Nurse", role="Nurse", password=PASSWORD)
    other = Walker(walker.context.browser, hospital)
    other.go("/login")
    log_in(other, "nina")
    expect(other.page.get_by_role("link", name="Accounts")).to_have_count(0)
    other.go("/password")
    other.page.goto(other.origin + "/administrators")
    expect(other.page.locator(".refusal")).to_have_text("Your role may not do this.")
    # The browser says so of the 403 that it was given on purpose.
    other.complaints = [complaint for complaint in other.complaints if "403" not in complaint]
    other.close()


def audit_and_backups(walker, _):
    walker.follow("Audit trail")
    walker.sees("failed to log in")
    walker.sees("stock: 20 → 5")
    walker.follow("Backups")
    walker.press("Make a backup now")
    walker.sees("backup-")


def both_languages(walker, _):
    walker.go("/")
    walker.page.get_by_role("link", name="中文").click()
    expect(walker.page.locator("html")).to_have_attribute("lang", "zh")
    walker.look(again=True)
    for link in walker.page.locator("nav a").all_text_contents():
        walker.follow(link)
        if walker.page.get_by_role("link", name="新增", exact=True).count():
            walker.follow("新增")
    walker.go("/cases/1")
    walker.sees("阑尾炎")
    walker.page.get_by_role("link", name="English").click()
    expect(walker.page.locator("html")).to_have_attribute("lang", "en")


EVERY = ["/", "/patients", "/patients/1", "/patients/1/change", "/admissions/1", "/wards/1/beds", "/bookings/new", "/prescriptions/new", "/audit",
         "/backups", "/password", "/doctors/1/day?date=2027-03-01", "/drugs/1"]


def dark_and_phone(walker, _):
    walker.paint("dark")
    for path in EVERY:
        walker.go(path)
    dark = walker.page.evaluate("getComputedStyle(document.body).backgroundColor")
    walker.page.set_viewport_size(PHONE)
    for path in EVERY:
        walker.go(path)
    walker.paint("light")
    assert dark != walker.page.evaluate("getComputedStyle(document.body).backgroundColor")
    walker.page.set_viewport_size(DESKTOP)


def keyboard(walker, _):
    """A patient is entered without a pointer."""
    walker.go("/patients/new")
    page = walker.page
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    for name, text in (("name", "Key Board"), ("identity", "A-9"), ("born", "02021999"), ("sex", "f")):
        reach(page, name)
        page.keyboard.type(text)
    reach_button(page)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Key Board")
    walker.sees("1999-02-02")
    walker.sees("female")
    walker.look()


def reach(page, name):
    for _ in range(60):
        if page.evaluate("document.activeElement.name") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{name} is not reached with the Tab key")


def reach_button(page):
    for _ in range(60):
        if page.evaluate("document.activeElement.matches('main button.button')"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("the button is not reached with the Tab key")


def take_pictures(browser, hospital, folder):
    walker = Walker(browser, hospital, device_scale_factor=1)
    walker.go(f"/setup?code={hospital.code()}")
    walker.fill(login="chief", name="The Chief", password=PASSWORD)
    walker.press("Save")
    pictures = [("dashboard", "/"), ("patients", "/patients"), ("beds", "/wards/8/beds"), ("prescription", "/prescriptions/new?patient=17"),
                ("day", "/doctors/1/day"), ("audit", "/audit")]
    for name, path in pictures:
        walker.go(path)
        save(walker.page, folder / f"hospital-{name}.png")
    walker.paint("dark")
    walker.go("/patients/7")
    save(walker.page, folder / "hospital-patient-dark.png")
    walker.page.get_by_role("link", name="中文").click()
    walker.paint("light")
    walker.go("/")
    save(walker.page, folder / "hospital-chinese.png")
    walker.page.set_viewport_size(PHONE)
    walker.go("/patients/new")
    save(walker.page, folder / "hospital-phone.png")
    walker.close()


def save(page, file):
    """With fewer colours, and small."""
    import io

    from PIL import Image
    picture = Image.open(io.BytesIO(page.screenshot()))
    picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)
    print(file, file.stat().st_size)


if __name__ == "__main__":
    main()

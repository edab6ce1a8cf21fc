#!/usr/bin/env python3
"""What must never happen, under 50 visitors at once and while processes of the service are killed; and who may do what.

    EMPTYSERVER_BIN=… HOSPITAL_BIN=… never.py [NAME…]
"""
import concurrent.futures
import http.client
import os
import pathlib
import random
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time

from visitor import Hospital, PASSWORD, Visitor, log_in, problems

AT_ONCE = 50
TODAY = "2026-11-30"
ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    names = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        hospital = Hospital(pathlib.Path(scratch)).start()
        try:
            chief = hospital.first()
            house = House(chief)
            for test in (a_bed_has_one_patient, a_slot_is_booked_once, stock_is_never_below_zero, no_half_prescription,
                         beds_and_patients_agree_after_any_moves, a_form_sent_twice_is_one_entry, two_changes_do_not_overwrite_each_other,
                         every_role_on_every_route, what_is_entered_is_text, forms_of_others_are_refused, passwords_are_not_guessed,
                         behind_a_proxy_each_visitor_has_tries_of_his_own, sessions_end, one_administrator_stays, confirmed_entries_survive_kills, a_backup_is_restored):
                if names and test.__name__ not in names:
                    continue
                began = time.monotonic()
                test(hospital, chief, house)
                print(f"ok: {test.__name__.replace('_', ' ')} ({time.monotonic() - began:.1f} s)", flush=True)
        finally:
            hospital.stop()


class House:
    """What the tests need to be there."""

    def __init__(self, chief):
        self.chief = chief
        self.department = chief.create("dictionary", list="departments", english="Surgery", chinese="外科")
        self.diagnosis = chief.create("dictionary", list="diagnoses", english="Flu", chinese="流感")
        self.form = chief.create("dictionary", list="drug_forms", english="Tablet", chinese="片剂")
        self.ward = chief.create("wards", name="Ward", department=self.department)
        self.doctor = self.new_doctor()
        self.patients = [self.new_patient() for _ in range(AT_ONCE)]

    def new_doctor(self):
        fields = {"from": "08:00", "to": "16:00"}
        return self.chief.create("doctors", name="Dr Who", department=self.department, days=[1, 2, 3, 4, 5, 6, 7], slot_minutes="30", **fields)

    def new_patient(self, name="Ann Example"):
        return self.chief.create("patients", name=name, identity=secrets.token_hex(6), born="1980-02-29", sex="female")

    def new_bed(self):
        return self.chief.create("beds", name=secrets.token_hex(4), ward=self.ward)

    def new_drug(self, stock):
        drug = self.chief.create("drugs", name=secrets.token_hex(4), form=self.form, stock_min=5)
        status, _, text = self.chief.do("drugs", drug, "stock", amount=stock)
        assert status == 303, problems(text)
        return drug

    def admission(self, patient, bed):
        return {"patient": patient, "bed": bed, "doctor": self.doctor, "admitted": TODAY}


def all_at_once(visitor, work):
    """Each of 50 browsers does its part, all of them at the same moment: what they were answered."""
    start = threading.Barrier(AT_ONCE)

    def one(number):
        browser = visitor.again()
        browser.get("/password")
        start.wait()
        return work(browser, number)

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def count(answers, what):
    """How many were confirmed. The others were refused, for this reason."""
    for status, _, text in answers:
        assert status == 303 or status == 200 and what in text, (status, problems(text))
    return sum(status == 303 for status, _, _ in answers)


def a_bed_has_one_patient(hospital, chief, house):
    store = hospital.store()
    for _ in range(3):
        bed = house.new_bed()
        fresh = [house.new_patient() for _ in range(AT_ONCE)]
        answers = all_at_once(chief, lambda browser, number: browser.post("/admissions/new", **house.admission(fresh[number], bed)))
        # Who comes a moment later finds that the bed is no longer offered.
        confirmed = [where for status, where, _ in answers if status == 303]
        for status, _, text in answers:
            assert status == 303 or "This bed is taken." in text or "no longer, among the choices" in text, problems(text)
        assert len(confirmed) == 1, confirmed
        assert store.record(f"bed:{bed}")["_admission"] == confirmed[0].rsplit("/", 1)[1]
        assert store.number("ZCARD", f"of:bed:{bed}") == 1
    # And one patient has one bed.
    beds, patient = [house.new_bed() for _ in range(AT_ONCE)], house.new_patient()
    answers = all_at_once(chief, lambda browser, number: browser.post("/admissions/new", **house.admission(patient, beds[number])))
    assert count(answers, "lies in a bed already") == 1
    assert sum("_admission" in store.record(f"bed:{bed}") for bed in beds) == 1


def a_slot_is_booked_once(hospital, chief, house):
    store = hospital.store()
    for time_of_day in ("08:00", "11:30", "15:30"):
        doctor = house.new_doctor()
        booking = {"doctor": doctor, "date": "2026-12-24", "time": time_of_day}
        answers = all_at_once(chief, lambda browser, number: browser.post("/bookings/new", patient=house.patients[number], **booking))
        assert count(answers, "This slot is taken.") == 1
        assert store.number("HLEN", f"slots:{doctor}:2026-12-24") == 1 == store.number("ZCARD", f"of:doctor:{doctor}")
    # The same day, written in another way.
    status, _, _ = chief.post("/bookings/new", patient=house.patients[0], doctor=doctor, date="20261224", time=time_of_day)
    assert status == 200 and store.number("HLEN", f"slots:{doctor}:20261224") == 0
    # A cancelled one is free again, and once.
    number = store.ask("HGET", f"slots:{doctor}:2026-12-24", "15:30")
    assert chief.do("bookings", number, "cancel")[0] == 303
    answers = all_at_once(chief, lambda browser, number: browser.post("/bookings/new", patient=house.patients[number], **booking))
    assert count(answers, "This slot is taken.") == 1
    status, _, text = chief.post("/bookings/new", patient=house.patients[0], doctor=doctor, date="2026-12-24", time="08:10")
    assert status == 200 and "no slot at this time" in text
    status, _, text = chief.post("/bookings/new", patient=house.patients[0], doctor=doctor, date="2026-12-24", time="16:00")
    assert status == 200 and "no slot at this time" in text


def stock_is_never_below_zero(hospital, chief, house):
    store, drug = hospital.store(), house.new_drug(30)

    def prescribe(browser, number):
        return browser.post("/prescriptions/new", patient=house.patients[number], doctor=house.doctor, date=TODAY, drug1=drug, amount1=1)

    assert count(all_at_once(chief, prescribe), "not that much in stock") == 30
    assert store.record(f"drug:{drug}")["stock"] == "0"
    status, _, text = chief.do("drugs", drug, "stock", amount=-1)
    assert status == 200 and "not that much in stock" in text
    assert store.ask("ZSCORE", "drug:low", drug) == "0"
    # Two lines of the same drug count together.
    assert chief.do("drugs", drug, "stock", amount=10)[0] == 303
    status, _, text = chief.post("/prescriptions/new", patient=house.patients[0], doctor=house.doctor, date=TODAY,
                                 drug1=drug, amount1=6, drug2=drug, amount2=6)
    assert status == 200 and "not that much in stock" in text
    assert store.record(f"drug:{drug}")["stock"] == "10"


def no_half_prescription(hospital, chief, house):
    store = hospital.store()
    much, little, none = house.new_drug(1000), house.new_drug(20), house.new_drug(1000)

    def prescribe(browser, number):
        return browser.post("/prescriptions/new", patient=house.patients[number], doctor=house.doctor, date=TODAY,
                            drug1=much, amount1=3, drug2=little, amount2=1, drug3=none, amount3=7)

    answers = all_at_once(chief, prescribe)
    assert count(answers, "not that much in stock") == 20
    stocks = [store.record(f"drug:{drug}")["stock"] for drug in (much, little, none)]
    assert stocks == ["940", "0", "860"], stocks
    # Taken back by everybody at once: once.
    numbers = [where.rsplit("/", 1)[1] for status, where, _ in answers if status == 303]
    version = chief.version("prescriptions", numbers[0])
    again = all_at_once(chief, lambda browser, _: browser.post(f"/prescriptions/{numbers[0]}/do/take_back", version=version))
    assert sum(status == 303 for status, _, _ in again) == 1
    stocks = [store.record(f"drug:{drug}")["stock"] for drug in (much, little, none)]
    assert stocks == ["943", "1", "867"], stocks


def beds_and_patients_agree_after_any_moves(hospital, chief, house):
    beds, patients = [house.new_bed() for _ in range(12)], [house.new_patient() for _ in range(20)]

    def wander(browser, number):
        luck = random.Random(number)
        for _ in range(4):
            status, where, _ = browser.post("/admissions/new", **house.admission(luck.choice(patients), luck.choice(beds)))
            if status != 303:
                continue
            admission = where.rsplit("/", 1)[1]
            browser.do("admissions", admission, "move", bed=luck.choice(beds))
            if luck.random() < 0.7:
                browser.do("admissions", admission, "discharge", discharged=TODAY)

    all_at_once(chief, wander)
    store = hospital.store()
    agree(store, beds, patients)


def agree(store, beds, patients):
    """Beds, patients and open admissions name one another."""
    for kind, numbers in (("bed", beds), ("patient", patients)):
        for number in numbers:
            holder = store.record(f"{kind}:{number}").get("_admission")
            all_open = [one for one in store.ask("ZRANGE", "admission:in:open", "0", "-1") if store.ask("HGET", f"admission:{one}", kind) == number]
            assert all_open == ([holder] if holder else []), (kind, number, holder, all_open)
            if kind == "bed":
                assert (store.ask("ZSCORE", "bed:free", number) == "$-1") == bool(holder), (number, holder)


def a_form_sent_twice_is_one_entry(hospital, chief, house):
    notice = {"title": "Twice", "text": "Once", "until": TODAY, "entry": secrets.token_hex(8)}
    answers = all_at_once(chief, lambda browser, _: browser.post("/notices/new", **notice))
    places = {(status, where) for status, where, _ in answers}
    assert len(places) == 1 and places.pop()[0] == 303


def two_changes_do_not_overwrite_each_other(hospital, chief, house):
    patient = house.new_patient()
    record = {"version": chief.version("patients", patient), "identity": secrets.token_hex(6), "born": "1980-02-29", "sex": "female"}
    answers = all_at_once(chief, lambda browser, number: browser.post(f"/patients/{patient}/change", name=f"Name {number}", **record))
    assert count(answers, "somebody else has changed this meanwhile") == 1


# What roles may do: n nothing, r read, w write. Administrators, doctors, nurses, pharmacists, readers.
ROLES = ("administrator", "doctor", "nurse", "pharmacist", "reader")
RIGHTS = {
    "patients": "wwwrr", "admissions": "wwwnr", "wards": "wrrnr", "beds": "wrwnr", "doctors": "wrrrr", "bookings": "wwwnr", "cases": "wwrnr",
    "prescriptions": "wwrwr", "drugs": "wrrwr", "dictionary": "wrrrr", "notices": "wwrrr", "administrators": "wnnnn", "audit": "rnnnr",
    "backups": "wnnnn",
}
# Those of main.rs, so that none is forgotten: method and address, and what is needed.
ROUTES = [("GET", "/{module}", "r"), ("GET", "/{module}/export.csv", "r"), ("GET", "/{module}/new", "w"), ("POST", "/{module}/new", "w"),
          ("GET", "/{module}/{id}", "r"), ("GET", "/{module}/{id}/change", "w"), ("POST", "/{module}/{id}/change", "w"),
          ("POST", "/{module}/{id}/remove", "w"), ("POST", "/{module}/{id}/do/{action}", "w")]
OWN_ROUTES = [("GET", "/", "any"), ("GET", "/login", "open"), ("POST", "/login", "open"), ("POST", "/logout", "any"), ("GET", "/setup", "open"),
              ("POST", "/setup", "open"), ("GET", "/password", "any"), ("POST", "/password", "any"), ("GET", "/language", "open"),
              ("GET", "/style.css", "open"), ("GET", "/audit", "audit r"), ("GET", "/backups", "backups r"), ("POST", "/backups", "backups w"),
              ("GET", "/wards/{id}/beds", "wards r"), ("GET", "/doctors/{id}/day", "doctors r")]


def every_role_on_every_route(hospital, chief, house):
    text = (ROOT / "examples/hospital/main.rs").read_text()
    rows = re.findall(r'\.route\("([^"]+)", ([^\n]+)\)\n', text)
    written = {(method.upper(), path) for path, how in rows for method in re.findall(r"(get|post)\(", how)}
    expected = {(method, path) for method, path, _ in ROUTES + OWN_ROUTES}
    assert written == expected, written ^ expected
    for role in ROLES:
        chief.create("administrators", login=role, name=role, role=role, password=PASSWORD)
    visitors = [log_in(hospital.port, role) for role in ROLES] + [Visitor(hospital.port)]
    for at, visitor in enumerate(visitors):
        for module, rights in RIGHTS.items():
            for method, path, needed in ROUTES:
                right = rights[at] if at < len(rights) else "out"
                look(visitor, method, path.format(module=module, id="999999", action="move"), right, needed)
        for method, path, needed in OWN_ROUTES:
            if needed in ("open", "any"):
                if (method, path) == ("GET", "/") or method == "GET" and path == "/password":
                    status, where, _ = visitor.get(path)
                    assert (status, where) == ((200, None) if at < len(ROLES) else (303, "/login")), (at, path, status)
                continue
            module, needed = needed.split()
            right = RIGHTS[module][at] if at < len(ROLES) else "out"
            look(visitor, method, path.format(id="999999"), right, needed)


def look(visitor, method, path, right, needed):
    status, where, _ = visitor.get(path) if method == "GET" else visitor.post(path)
    if right == "out":
        assert (status, where) == (303, "/login"), (method, path, status, where)
    elif right == "n" or right == "r" and needed == "w":
        # To an administrator what nobody may do is not there.
        assert status in (403, 404), (method, path, right, status)
    else:
        assert status in (200, 303, 404, 405) and where != "/login", (method, path, right, status, where)


def what_is_entered_is_text(hospital, chief, house):
    nasty = "<script>alert(1)</script>\"'&<b>"
    patient = house.new_patient(nasty)
    chief.create("notices", title=nasty, text=nasty, until="2999-01-01")
    word = chief.create("dictionary", list="diagnoses", english=nasty, chinese=nasty)
    case = chief.create("cases", patient=patient, doctor=house.doctor, date=TODAY, diagnosis=word, complaint=nasty)
    drug = chief.create("drugs", name=nasty, form=house.form, stock_min=5)
    bed = chief.create("beds", name=nasty[:30], ward=house.ward)
    chief.create("admissions", **house.admission(patient, bed))
    paths = ["/", "/patients", f"/patients/{patient}", f"/patients/{patient}/change", "/notices", "/dictionary", f"/cases/{case}",
             f"/cases/{case}/change", "/cases", "/drugs", f"/drugs/{drug}", "/prescriptions/new", "/admissions",
             f"/wards/{house.ward}/beds", "/audit", "/audit?page=2",
             "/patients?q=%3Cscript%3E", "/bookings?in=%22%3E%3Cscript%3E", "/patients/new?name=%22%3E%3Cscript%3E"]
    for path in paths:
        status, _, text = chief.get(path)
        assert status == 200 and "<script" not in text and "<b>" not in text, path
    _, _, text = chief.get(f"/patients/{patient}")
    # Whether as names or as numbers.
    assert re.search(r"(&#60;|&lt;)script", text)
    status, _, text = chief.post("/patients/new", name="x\"><script>", identity="", born="no", sex="\"><script>")
    assert status == 200 and "<script" not in text
    # Spreadsheets see no formula.
    for formula in ("=1+1", "+1", "-1", "@SUM(A1)"):
        house.new_patient(formula)
        _, _, text = chief.get("/patients/export.csv")
        assert f"\"'{formula}\"" in text and f"\"{formula}\"" not in text
    # Nothing leads to another machine.
    for elsewhere in ("//evil.example/", "/%09/evil.example/", "/%5Cevil.example/"):
        assert chief.get(f"/language?to=zh&back={elsewhere}")[1] == "/", elsewhere
    chief.get("/language?to=en&back=/")


def forms_of_others_are_refused(hospital, chief, house):
    notice = {"title": "Forged", "text": "x", "until": TODAY}
    for token in ("", "0" * 64, chief.csrf[:-1] + ("0" if chief.csrf[-1] != "0" else "1")):
        status, _, _ = chief.again().post("/notices/new", csrf=token, **notice)
        assert status == 403, status
    # The token of another visitor who is logged in.
    other = log_in(hospital.port, "chief")
    assert other.again().post("/notices/new", csrf=chief.csrf, **notice)[0] == 403
    # The log-in form too.
    stranger = Visitor(hospital.port)
    stranger.get("/login")
    assert Visitor(hospital.port, csrf=stranger.csrf).post("/login", login="chief", password=PASSWORD)[0] == 403
    assert "Forged" not in chief.get("/notices")[2]


def passwords_are_not_guessed(hospital, chief, house):
    chief.create("administrators", login="victim", name="Victim", role="reader", password=PASSWORD)
    visitor = Visitor(hospital.port)
    for number in range(5):
        # Anybody can write this, where there is no proxy.
        visitor.headers["X-Forwarded-For"] = f"192.0.2.{number}"
        status, _, text = visitor.post("/login", login="victim", password="not the right one")
        assert status == 200 and "Login or password is wrong" in text
    status, _, text = visitor.post("/login", login="victim", password=PASSWORD)
    assert status == 200 and "Too many tries" in text
    # A short one is not taken, and none is kept as it is.
    status, _, text = chief.post("/administrators/new", login="short", name="Short", role="reader", password="short")
    assert status == 200 and "At least 10 characters" in text
    store = hospital.store()
    record = store.record("account:1")
    assert record["_password"].startswith("$argon2id$") and PASSWORD not in str(record)


def behind_a_proxy_each_visitor_has_tries_of_his_own(hospital, chief, house):
    chief.create("administrators", login="proxied", name="Proxied", role="reader", password=PASSWORD)
    proxied = hospital.beside("--behind-tls")
    try:
        for end, expected in (("198.51.100.1", "Too many tries"), ("198.51.100.2", None)):
            visitor = Visitor(proxied.port)
            if expected:
                for number in range(5):
                    # What comes before the end is what the visitor has said himself.
                    visitor.headers["X-Forwarded-For"] = f"192.0.2.{number}, {end}"
                    assert "Login or password is wrong" in visitor.post("/login", login="proxied", password="not the right one")[2]
            visitor.headers["X-Forwarded-For"] = end
            status, where, text = visitor.post("/login", login="proxied", password=PASSWORD)
            assert expected in text if expected else (status, where) == (303, "/"), (end, status, where)
    finally:
        proxied.end_program()


def sessions_end(hospital, chief, house):
    number = chief.create("administrators", login="leaver", name="Leaver", role="reader", password=PASSWORD)
    # By a new password, on every machine but the own.
    here, there = log_in(hospital.port, "leaver"), log_in(hospital.port, "leaver")
    status, where, text = here.post("/password", password_now=PASSWORD, password=PASSWORD + "!")
    assert (status, where) == (303, "/"), problems(text)
    assert here.get("/")[0] == 200 and there.get("/")[1] == "/login"
    # By leaving: also for who has copied the cookie.
    copy = here.again()
    here.get("/")
    assert here.post("/logout")[1] == "/login"
    assert copy.get("/")[1] == "/login"
    # With the account.
    here = log_in(hospital.port, "leaver", PASSWORD + "!")
    assert chief.post(f"/administrators/{number}/remove", version=chief.version("administrators", number))[0] == 303
    assert here.get("/")[1] == "/login"
    # By themselves: an event of the service tells, and it is in the audit trail.
    store = hospital.store()
    for session in store.ask("KEYS", "session:*"):
        if session.split(":")[1] != "1":
            store.ask("PEXPIRE", session, "1")
    deadline = time.monotonic() + 20
    while "session ended by itself" not in chief.get("/audit")[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def one_administrator_stays(hospital, chief, house):
    store = hospital.store()
    for number in store.ask("ZRANGE", "account:in:administrator", "0", "-1"):
        if number != "1":
            assert chief.post(f"/administrators/{number}/remove", version=chief.version("administrators", number))[0] == 303
    status, _, text = chief.post("/administrators/1/remove", version=chief.version("administrators", "1"))
    assert status == 200 and "One administrator has to remain" in text
    status, _, text = chief.post("/administrators/1/change", version=chief.version("administrators", "1"), name="The Chief", role="reader")
    assert status == 200 and "One administrator has to remain" in text
    status, _, text = Visitor(hospital.port).post("/setup", code=hospital.code(), login="second", name="Second", password=" ")
    assert status == 200 and 'action="/setup"' in text, text
    assert Visitor(hospital.port).post("/setup", code=hospital.code(), login="second", name="Second", password=PASSWORD)[0] == 200
    assert store.number("ZCARD", "account:in:administrator") == 1


KILLS = 20


def confirmed_entries_survive_kills(hospital, chief, house):
    """Eight people enter notices and prescriptions while processes of the service die, and the program itself. Whoever is not answered sends the
    form again."""
    store, service = hospital.store(), hospital.service
    drugs = [house.new_drug(100_000), house.new_drug(100_000)]
    stop, confirmed = threading.Event(), []

    def enter(number):
        browser, mine = chief.again(), 0
        while not stop.is_set():
            mine += 1
            title = f"kept {number} {mine}"
            forms = [("/notices/new", {"title": title, "text": "x", "until": TODAY}),
                     ("/prescriptions/new", {"patient": house.patients[number], "doctor": house.doctor, "date": TODAY, "dose1": title,
                                             "drug1": drugs[0], "amount1": 1, "drug2": drugs[1], "amount2": 2})]
            for path, fields in forms:
                fields["entry"] = secrets.token_hex(8)
                assert enter_surely(browser, path, fields), (path, title)
                confirmed.append((path, title))

    def wait_for(more):
        wanted, deadline = len(confirmed) + more, time.monotonic() + 60
        while len(confirmed) < wanted:
            for one in entering:
                if one.done():
                    one.result()
            assert time.monotonic() < deadline, "nothing is confirmed any more"
            time.sleep(0.01)

    pool = concurrent.futures.ThreadPoolExecutor(8)
    entering = [pool.submit(enter, number) for number in range(8)]
    try:
        kill_meanwhile(hospital, wait_for)
    finally:
        stop.set()
    for one in entering:
        one.result(120)
    store = hospital.store()
    for path, kind, field in (("/notices/new", "notice", "title"), ("/prescriptions/new", "prescription", "dose1")):
        entered = sorted(title for where, title in confirmed if where == path)
        numbers = store.ask("ZRANGE", f"{kind}:all", "0", "-1")
        kept = sorted(title for title in (store.record(f"{kind}:{number}").get(field, "") for number in numbers) if title.startswith("kept "))
        assert kept == entered, (len(kept), len(entered), set(kept) ^ set(entered))
    taken = [100_000 - int(store.record(f"drug:{drug}")["stock"]) for drug in drugs]
    assert taken == [len(kept), 2 * len(kept)], (taken, len(kept))
    print(f"    {KILLS} kills, {len(confirmed)} entries confirmed, each is there once", flush=True)


def kill_meanwhile(hospital, wait_for):
    service = hospital.service
    for turn in range(KILLS):
        wait_for(12)
        name = ("writer", "worker-0", "supervisor", "worker-1", "hospital")[turn % 5]
        if name == "supervisor":
            service.kill()
            service.start()
        elif name == "hospital":
            hospital.process.kill()
            hospital.process.wait()
            hospital.start()
        else:
            os.kill(service.pid(name), signal.SIGKILL)
    wait_for(30)


def enter_surely(browser, path, fields):
    """Sends the same form until it is confirmed, as somebody does who presses the button again."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            status, _, text = browser.post(path, **fields)
        except (OSError, http.client.HTTPException):
            browser.connection.close()
            time.sleep(0.05)
            continue
        if status == 303:
            return True
        assert status == 503, (status, problems(text))
    return False


def a_backup_is_restored(hospital, chief, house):
    service = hospital.service
    kept = chief.create("notices", title="Before the backup", text="x", until="2999-01-01")
    assert chief.post("/backups")[1] == "/backups"
    deadline = time.monotonic() + 60
    while True:
        _, _, text = chief.get("/backups")
        rows = re.findall(r"<tr><td>(backup-[^<]+)</td><td>[^<]+</td><td>chief</td><td>(\d*)</td>", text)
        if rows and rows[0][1]:
            break
        assert time.monotonic() < deadline, text
        time.sleep(0.05)
    name = rows[0][0]
    assert chief.post(f"/notices/{kept}/remove", version=chief.version("notices", kept))[0] == 303
    assert chief.get(f"/notices/{kept}")[0] == 404
    # As README.md says.
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(30)
    data = service.directory / "data"
    environment = {"EMPTYSERVER_DATA": str(data)}
    subprocess.run([service.program, "restore", "--replace", str(data / "backups" / name)], env=environment, check=True, capture_output=True)
    service.start()
    assert chief.get(f"/notices/{kept}")[0] == 200
    house.new_patient()


if __name__ == "__main__":
    main()

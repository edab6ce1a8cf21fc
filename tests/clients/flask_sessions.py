"""Flask-Session: a visitor's session from the first request to the last, and its end by time.

Called with the URL of a server.
"""

import datetime
import sys
import time

import flask
import flask_session
import redis

client = redis.Redis.from_url(sys.argv[1])
client.flushdb()

application = flask.Flask("shop")
application.config.update(
    SESSION_TYPE="redis",
    SESSION_REDIS=client,
    SESSION_PERMANENT=True,
    PERMANENT_SESSION_LIFETIME=datetime.timedelta(seconds=600),
)
flask_session.Session(application)


@application.post("/cart/<item>")
def put(item):
    flask.session.setdefault("cart", []).append(item)
    flask.session.modified = True
    return "", 204


@application.get("/cart")
def cart():
    return flask.jsonify(flask.session.get("cart", []))


@application.post("/login")
def login():
    flask.session["user"] = "ann"
    application.session_interface.regenerate(flask.session)
    return "", 204


@application.post("/logout")
def logout():
    flask.session.clear()
    return "", 204


def stored():
    return sorted(client.scan_iter("session:*"))


ann, ben = application.test_client(), application.test_client()
for item in ("bread", "milk" * 5000, "tea"):
    assert ann.post(f"/cart/{item}").status_code == 204
ben.post("/cart/salt")
assert ann.get("/cart").json == ["bread", "milk" * 5000, "tea"] and ben.get("/cart").json == ["salt"]
assert len(stored()) == 2 and all(0 < client.ttl(key) <= 600 for key in stored())

before = set(stored())
ann.post("/login")
assert ann.get("/cart").json[0] == "bread", "a new id keeps what is in the session"
assert len(set(stored()) - before) == 1 and len(stored()) == 2
ann.post("/logout")
assert ann.get("/cart").json == [] and len(stored()) == 1

client.pexpire(stored()[0], 1)
ends = time.monotonic() + 30
while stored():
    assert time.monotonic() < ends, "a session outlives its time"
assert ben.get("/cart").json == []
client.flushdb()
print("Flask-Session: sessions made, kept, given a new id, ended")

"""Rate limiters: limits with all of its strategies, Flask-Limiter in front of a page, pyrate-limiter.

Called with the URL of a server.
"""

import sys
import threading
import time

import flask
import limits
import redis
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter
from pyrate_limiter import Duration, Limiter as PyrateLimiter, Rate, RedisBucket

client = redis.Redis.from_url(sys.argv[1])
client.flushdb()

# ---- limits ----
storage = limits.storage.storage_from_string(sys.argv[1])
assert storage.check()
five = limits.parse("5 per 10 minutes")
for strategy in (FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter):
    limiter = strategy(storage)
    name = strategy.__name__
    assert [limiter.hit(five, name, "ann") for _ in range(7)] == [True] * 5 + [False] * 2, name
    assert not limiter.test(five, name, "ann") and limiter.test(five, name, "ben")
    window = limiter.get_window_stats(five, name, "ann")
    assert window.remaining == 0 and time.time() < window.reset_time <= time.time() + 601, (name, window)
    assert limiter.hit(five, name, "ben", cost=4) and not limiter.hit(five, name, "ben", cost=2)
    limiter.clear(five, name, "ann")
    assert limiter.hit(five, name, "ann")
assert storage.reset() > 0

# Whoever asks at once gets no more than the limit.
limiter, granted = MovingWindowRateLimiter(storage), []


def ask():
    own = MovingWindowRateLimiter(limits.storage.storage_from_string(sys.argv[1]))
    granted.extend(own.hit(limits.parse("50 per hour"), "all") for _ in range(20))


threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(granted) == 160 and sum(granted) == 50

# ---- Flask-Limiter ----
application = flask.Flask("shop")
Limiter(
    get_remote_address, app=application, storage_uri=sys.argv[1], strategy="moving-window", default_limits=["3 per hour"]
)


@application.get("/")
def page():
    return "hello"


visitor = application.test_client()
assert [visitor.get("/").status_code for _ in range(5)] == [200, 200, 200, 429, 429]

# ---- pyrate-limiter ----
bucket = RedisBucket.init([Rate(3, Duration.HOUR)], client, "pyrate")
pyrate = PyrateLimiter(bucket)
assert [bool(pyrate.try_acquire("ann", blocking=False)) for _ in range(5)] == [True] * 3 + [False] * 2

client.flushdb()
print("limits, Flask-Limiter, pyrate-limiter: fixed, moving and sliding windows, many at once")

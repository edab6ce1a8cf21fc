"""redis-py's locks, and those of django-redis, which are the same: taken, waited for, extended, lost and given back, by threads that want one thing.

Called with the URL of a server.
"""

import sys
import threading
import time

import django
import redis
from django.conf import settings
from redis.exceptions import LockError, LockNotOwnedError

client = redis.Redis.from_url(sys.argv[1])
client.flushdb()

# ---- one owner ----
lock = client.lock("report", timeout=30)
assert lock.acquire(blocking=False) and lock.locked() and lock.owned()
other = client.lock("report", timeout=30, blocking_timeout=0.2)
assert not other.acquire() and not other.owned()
assert 20_000 < client.pttl("report") <= 30_000
assert lock.extend(10) and 31_000 < client.pttl("report") <= 40_000
assert lock.extend(5, replace_ttl=True) and 1_000 < client.pttl("report") <= 5_000
assert lock.reacquire() and 20_000 < client.pttl("report") <= 30_000
lock.release()
assert not lock.locked() and other.acquire()
other.release()
try:
    other.release()
    raise AssertionError("a lock is given back twice")
except LockError:
    pass

# ---- a lock that is lost ----
lost = client.lock("short", timeout=0.05)
assert lost.acquire()
ends = time.monotonic() + 30
while client.exists("short"):
    assert time.monotonic() < ends, "a lock outlives its time"
taken = client.lock("short", timeout=30)
assert taken.acquire()
for late in (lambda: lost.extend(1), lost.reacquire, lost.release):
    try:
        late()
        raise AssertionError("a lock that was lost is still somebody's")
    except LockNotOwnedError:
        pass
assert taken.owned()
taken.release()

# ---- many who want it ----
counted = {"inside": 0, "rounds": 0}


def work():
    own = redis.Redis.from_url(sys.argv[1])
    for _ in range(10):
        with own.lock("counter", timeout=30, sleep=0.001):
            assert counted["inside"] == 0
            counted["inside"] += 1
            own.set("rounds", int(own.get("rounds") or 0) + 1)
            counted["inside"] -= 1


threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert int(client.get("rounds")) == 80

# ---- scripts of one's own ----
add = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
assert add(keys=["sum"], args=[2]) == 2 and add(keys=["sum"], args=[3]) == 5
client.script_flush()
assert add(keys=["sum"], args=[1]) == 6
pipeline = client.pipeline()
pipeline.set("sum", 1)
add(keys=["sum"], args=[1], client=pipeline)
pipeline.get("sum")
assert pipeline.execute() == [True, 2, b"2"]

# ---- Django ----
settings.configure(
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": sys.argv[1], "KEY_PREFIX": "shop"}}
)
django.setup()

from django.core.cache import cache  # noqa: E402

with cache.lock("checkout", timeout=30):
    assert not cache.lock("checkout", timeout=30, blocking_timeout=0.05).acquire()
assert cache.lock("checkout", timeout=30).acquire(blocking=False)
cache.set("visits", 1, timeout=100)
assert cache.incr("visits") == 2 and cache.decr("visits", 2) == 0 and 90 < cache.ttl("visits") <= 100

client.flushdb()
print("redis-py and django-redis: locks, extended, lost, waited for; scripts that are loaded again")

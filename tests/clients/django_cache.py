"""django-redis: Django's cache, its sessions, and what django-redis adds of hashes, sets and sorted sets.

Called with the URL of a server. Left out: `incr` and `decr` of keys with a time to live, and locks, which are Lua scripts.
"""

import datetime
import sys
import time

import django
from django.conf import settings

settings.configure(
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": sys.argv[1],
            "KEY_PREFIX": "shop",
            "OPTIONS": {"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"},
        }
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import cache  # noqa: E402

cache.clear()

# ---- the cache of Django ----
assert cache.get("absent") is None and cache.get("absent", 7) == 7
value = {"name": "Ann", "tags": ["a", "b"], "photo": bytes(range(256)) * 100}
cache.set("user", value)
assert cache.get("user") == value and "user" in cache
assert cache.add("user", 1) is False and cache.get("user") == value
assert cache.add("new", 1) is True and cache.get("new") == 1
assert cache.get_or_set("made", lambda: 5) == 5 and cache.get("made") == 5
cache.set_many({"a": 1, "b": "two", "c": None})
assert cache.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": "two", "c": None}
assert cache.delete("a") is True and cache.delete("a") is False
assert cache.delete_many(["b", "c", "d"]) == 2
cache.set("versioned", "one", version=1)
assert cache.incr_version("versioned") == 2
assert cache.get("versioned", version=2) == "one" and cache.get("versioned", version=1) is None

# ---- times to live ----
cache.set("for a while", 1, timeout=100)
assert 90 < cache.ttl("for a while") <= 100 and 90_000 < cache.pttl("for a while") <= 100_000
assert cache.touch("for a while", 1000) and 990 < cache.ttl("for a while") <= 1000
assert cache.persist("for a while") and cache.ttl("for a while") is None
assert cache.expire("for a while", timeout=50) and 40 < cache.ttl("for a while") <= 50
assert cache.pexpire("for a while", timeout=70_500) and 60_000 < cache.pttl("for a while") <= 70_500
tomorrow = datetime.datetime.now() + datetime.timedelta(days=1)
assert cache.expire_at("for a while", tomorrow) and 86_000 < cache.ttl("for a while") <= 86_400
cache.set("gone at once", 1, timeout=0)
assert cache.get("gone at once") is None and cache.ttl("gone at once") == 0
cache.set("gone soon", 1, timeout=0.02)
ends = time.monotonic() + 30
while "gone soon" in cache:
    assert time.monotonic() < ends, "a key outlives its time"
cache.set("kept", 1, timeout=100, xx=True)
assert cache.get("kept") is None
cache.set("kept", 1, timeout=100, nx=True)
assert cache.set("kept", 2, nx=True) in (False, None) and cache.get("kept") == 1

# ---- patterns, walks ----
cache.set_many({f"article:{number}": number for number in range(2500)})
assert len(cache.keys("article:*")) == 2500
assert sum(1 for _ in cache.iter_keys("article:1*", itersize=50)) == 1111
assert cache.delete_pattern("article:*", itersize=100) == 2500
assert cache.keys("article:*") == []

# ---- hashes, sets, sorted sets ----
for number in range(300):
    cache.hset("basket", f"item {number}", {"count": number})
assert cache.hlen("basket") == 300 and cache.hexists("basket", "item 7")
assert set(cache.hkeys("basket")) == {f"item {number}" for number in range(300)}
assert cache.hdel("basket", "item 7") == 1 and not cache.hexists("basket", "item 7")

assert cache.sadd("tags", "a", "b", "c") == 3 and cache.sadd("tags", "a") == 0
cache.sadd("more tags", *(f"t{number}" for number in range(500)), "b", "c")
assert cache.scard("tags") == 3 and cache.scard("more tags") == 502
assert cache.sismember("tags", "a") and list(cache.smismember("tags", "a", "z")) == [True, False]
assert cache.smembers("tags") == {"a", "b", "c"}
assert cache.sinter("tags", "more tags") == {"b", "c"} and cache.sdiff("tags", "more tags") == {"a"}
assert len(cache.sunion("tags", "more tags")) == 503
assert cache.sinterstore("both", "tags", "more tags") == 2 and cache.sunionstore("all", "tags", "more tags") == 503
assert cache.sdiffstore("one", "tags", "more tags") == 1
assert cache.smove("tags", "more tags", "a") and cache.scard("tags") == 2
assert cache.srandmember("tags") in {"b", "c"} and len(cache.srandmember("more tags", 10)) == 10
assert cache.spop("tags") in {"b", "c"} and cache.scard("tags") == 1
assert len(set(cache.sscan_iter("more tags"))) == 503
assert cache.srem("more tags", "a", "b") == 2

cache.zadd("best", {f"player {number}": number * 1.5 for number in range(400)})
assert cache.zcard("best") == 400 and cache.zscore("best", "player 3") == 4.5
assert cache.zrank("best", "player 3") == 3 and cache.zincrby("best", 1000, "player 3") == 1004.5
assert cache.zrevrange("best", 0, 1) == ["player 3", "player 399"]
assert cache.zrange("best", 0, 1, withscores=True) == [("player 0", 0.0), ("player 1", 1.5)]
assert cache.zcount("best", 0, 6) == 4 and cache.zrangebyscore("best", 1, 6) == ["player 1", "player 2", "player 4"]
assert cache.zpopmin("best")[0] == "player 0" and cache.zpopmax("best")[0] == "player 3"
assert cache.zrem("best", "player 1") == 1 and cache.zremrangebyscore("best", 0, 6) == 2

# ---- sessions ----
session = SessionStore()
session["cart"] = [1, 2, 3]
session.set_expiry(300)
session.save()
again = SessionStore(session_key=session.session_key)
assert again["cart"] == [1, 2, 3] and again.exists(session.session_key)
again.cycle_key()
assert not again.exists(session.session_key) and SessionStore(session_key=again.session_key)["cart"] == [1, 2, 3]
again.flush()
assert SessionStore(session_key=again.session_key).load() == {}

cache.clear()
assert cache.keys("*") == []
print("django-redis: cache, times to live, patterns, hashes, sets, sorted sets, sessions")

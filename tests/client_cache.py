"""Client-side caches of redis-py beside writes and deaths of the writer: whenever all has come to rest, no cache has an older value.

client_cache.py PORT SECONDS PID_OF_THE_SUPERVISOR
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import redis
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

# It asks for a server that calls itself 7.4. What it uses is all in 7.2.
CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"

PORT, SECONDS, SUPERVISOR = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
KEYS = [f"key:{number}" for number in range(20)]
# From here on a change that nobody is told of stays one; what is on its way has come.
REST_SECONDS = 0.3

over, resting = threading.Event(), threading.Event()
at_rest = threading.Semaphore(0)
reads = [0] * 3


def writer_pid():
    """The process with a thread of the lane "write"."""
    for pid in subprocess.run(["pgrep", "-P", str(SUPERVISOR)], capture_output=True, text=True).stdout.split():
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
            if any(open(f"/proc/{pid}/task/{task}/comm").read().startswith("write") for task in tasks):
                return int(pid)
        except OSError:
            pass
    return None


def go_on(step):
    while not over.is_set():
        try:
            step()
        except redis.exceptions.ConnectionError:
            # It was committed and not answered when the writer died.
            pass
        if resting.is_set():
            at_rest.release()
            while resting.is_set():
                time.sleep(0.002)


def plain():
    return redis.Redis(port=PORT, socket_timeout=20)


def writing(seed):
    chance, client = random.Random(seed), plain()
    return lambda: client.incr(chance.choice(KEYS))


def reading(number, client):
    chance = random.Random(100 + number)

    def step():
        client.get(chance.choice(KEYS))
        reads[number] += 1

    return step


caches = [redis.Redis(port=PORT, protocol=3, cache_config=CacheConfig(), socket_timeout=20) for _ in reads]
steps = [writing(number) for number in range(3)] + [reading(number, client) for number, client in enumerate(caches)]
threads = [threading.Thread(target=go_on, args=(step,)) for step in steps]
for thread in threads:
    thread.start()
rounds = kills = stale = 0
until = time.monotonic() + SECONDS
while time.monotonic() < until:
    time.sleep(0.3)
    if rounds % 4 == 3 and (pid := writer_pid()):
        os.kill(pid, signal.SIGKILL)
        kills += 1
    resting.set()
    for _ in threads:
        at_rest.acquire()
    time.sleep(REST_SECONDS)
    truth = dict(zip(KEYS, plain().mget(KEYS)))
    for client in caches:
        for key in KEYS:
            value = client.get(key)
            if value != truth[key]:
                stale += 1
                print(f"stale: {key} is {truth[key]}, a cache has {value} in round {rounds}", flush=True)
    rounds += 1
    resting.clear()
over.set()
for thread in threads:
    thread.join()
print(f"{rounds} rounds, {sum(reads)} reads, {kills} writers killed, {stale} stale")
sys.exit(1 if stale or not kills else 0)

"""Celery with Redis as its broker and its memory of results: tasks, a chord, retries, a worker that is killed in the middle of a task.

Called with the URL of a server. The workers are processes of their own, which import this file.
"""

import os
import signal
import subprocess
import sys
import time

import redis
from celery import Celery, chord, group

URL = os.environ.get("CELERY_TEST_URL") or sys.argv[1]

application = Celery("shop", broker=URL, backend=URL)
application.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    result_expires=600,
    worker_hijack_root_logger=False,
)
memory = redis.Redis.from_url(URL)


@application.task(name="add")
def add(one, other):
    return one + other


@application.task(name="total")
def total(numbers):
    return sum(numbers)


@application.task(name="stubborn", bind=True, max_retries=5, default_retry_delay=0)
def stubborn(self, name):
    if memory.incr(f"attempts:{name}") < 3:
        raise self.retry(countdown=0)
    return self.request.retries


@application.task(name="broken")
def broken():
    raise ValueError("on purpose")


@application.task(name="dies_once")
def dies_once(name):
    attempt = memory.incr(f"attempts:{name}")
    if attempt == 1:
        memory.set(f"pid:{name}", os.getpid())
        time.sleep(60)
    return attempt


def start_worker():
    command = [sys.executable, "-m", "celery", "-A", "celery_queue", "worker", "--concurrency", "2", "--loglevel", "CRITICAL"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    folder = os.path.dirname(os.path.abspath(__file__))
    environment = dict(os.environ, CELERY_TEST_URL=URL, PYTHONPATH=folder)
    return subprocess.Popen(command, env=environment, cwd=os.environ.get("TMPDIR", "/tmp"), stdout=subprocess.DEVNULL)


def wait_for(what, seconds=30):
    ends = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < ends, "it does not come"
        time.sleep(0.02)
    return found


def main():
    memory.flushdb()
    worker = start_worker()
    try:
        assert add.delay(2, 3).get(timeout=30) == 5
        assert group(add.s(number, number) for number in range(20))().get(timeout=30) == [2 * n for n in range(20)]
        assert chord((add.s(number, 1) for number in range(30)), total.s())().get(timeout=30) == sum(range(30)) + 30
        assert chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async().get(timeout=30) == 6
        assert (add.s(1, 2) | add.s(4) | add.s(8))().get(timeout=30) == 15
        assert stubborn.delay("a").get(timeout=30) == 2
        failed = broken.delay()
        try:
            failed.get(timeout=30)
            raise AssertionError("a task that fails has a result")
        except ValueError as error:
            assert "on purpose" in str(error) and failed.failed()

        # The process that has a task is killed in the middle of it: another one begins it again.
        result = dies_once.delay("b")
        os.kill(int(wait_for(lambda: memory.get("pid:b"))), signal.SIGKILL)
        assert result.get(timeout=30) == 2
    finally:
        worker.terminate()
        worker.wait(timeout=30)
    memory.flushdb()
    print("Celery: tasks, groups, chords, chains, retries, errors, a worker that is killed")


if __name__ == "__main__":
    main()

"""Huey with its priority queue: order, tasks for later, results, retries, locks, chords, a consumer that is killed amid a task; and the package's own
tests of what it keeps in a Redis.

Called with the URL of a server. The consumers are processes of their own, which import this file.
"""

import os
import signal
import subprocess
import sys
import time
import unittest
from datetime import datetime

import redis
from huey import PriorityRedisHuey, chord, crontab
from huey.exceptions import ResultTimeout, TaskException
from redis.connection import Connection

URL = os.environ.get("HUEY_TEST_URL") or sys.argv[1]
OWN_TESTS = ("TestRedisStorage", "TestRedisStorageWaitResult", "TestRedisExpireStorage", "TestPriorityRedisStorage")
OWN_TESTS += ("TestPriorityRedisStorageNotBlocking", "TestLockTaskSemaphore")

# Who waits for a result waits by BLPOP.
huey = PriorityRedisHuey("shop", url=URL, notify_result=True, store_intermediate_errors=False)
memory = redis.Redis.from_url(URL)


@huey.task()
def add(one, other):
    return one + other


@huey.task()
def total(numbers):
    return sum(numbers)


@huey.task()
def note(name):
    memory.rpush("order", name)


@huey.task()
def moment():
    return datetime.now().timestamp()


@huey.task(retries=5)
def stubborn(name):
    if memory.incr(f"attempts:{name}") < 3:
        raise ValueError("not yet")
    return int(memory.get(f"attempts:{name}"))


@huey.task()
def broken():
    raise ValueError("on purpose")


@huey.task(retries=1000)
@huey.lock_task("sum")
def add_slowly():
    """Loses additions where two of it run at once."""
    before = int(memory.get("sum") or 0)
    time.sleep(0.01)
    memory.set("sum", before + 1)


@huey.task()
@huey.lock_task("printer")
def hangs():
    memory.set("hangs", os.getpid())
    time.sleep(60)


@huey.periodic_task(crontab())
def each_minute():
    memory.incr("minutes")


def start_consumer(*flags):
    folder = os.path.dirname(os.path.abspath(__file__))
    command = [sys.executable, "-m", "huey.bin.huey_consumer", "huey_queue.huey", "--worker-type", "process", "--quiet", *flags]
    environment = dict(os.environ, HUEY_TEST_URL=URL, PYTHONPATH=folder)
    return subprocess.Popen(command, env=environment, cwd=os.environ.get("TMPDIR", "/tmp"), stderr=subprocess.DEVNULL, start_new_session=True)


def stop(consumer):
    consumer.send_signal(signal.SIGINT)
    consumer.wait(timeout=30)


def wait_for(what, seconds=30):
    ends = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < ends, "it does not come"
        time.sleep(0.02)
    return found


def result_of(task):
    return task.get(blocking=True, timeout=30)


def keeps_order():
    """All wait before anybody takes one."""
    names = [(f"{priority}-{turn}", priority) for turn in range(3) for priority in (0, 10, 5, -3)]
    for name, priority in names:
        note(name, priority=priority)
    note("without")
    assert huey.pending_count() == len(names) + 1 and len(huey.pending(2)) == 2
    consumer = start_consumer("--workers", "1")
    wait_for(lambda: memory.llen("order") == len(names) + 1)
    stop(consumer)
    by_priority = [f"{priority}-{turn}" for priority in (10, 5, 0, -3) for turn in range(3)]
    by_priority.insert(by_priority.index("0-2") + 1, "without")
    assert [name.decode() for name in memory.lrange("order", 0, -1)] == by_priority


def runs_tasks():
    consumer = start_consumer("--workers", "2")
    try:
        begin = time.time()
        later = moment.schedule(delay=1.5)
        never = add.schedule((1, 1), delay=1.5)
        never.revoke()
        assert [result_of(add(number, number)) for number in range(20)] == [2 * number for number in range(20)]
        assert result_of(huey.enqueue(add.s(1, 2).then(add, 4).then(add, 8))) == [3, 7, 15]
        summed = huey.enqueue(chord([add.s(number, 1) for number in range(30)], total.s()))
        assert result_of(summed) == sum(range(30)) + 30
        assert result_of(stubborn("a")) == 3
        failed = broken()
        try:
            result_of(failed)
            raise AssertionError("a task that fails has a result")
        except TaskException as error:
            assert "on purpose" in str(error)
        for _ in range(10):
            add_slowly()
        wait_for(lambda: memory.get("sum") == b"10")
        assert result_of(later) >= begin + 1.5
        wait_for(lambda: not huey.scheduled_count() and not huey.pending_count())
        assert never.get() is None and int(memory.get("minutes")) >= 1
    finally:
        stop(consumer)


def outlives_its_consumers():
    """What a consumer had taken goes with it; what waits stays, and so does a lock until somebody says that its owner is dead."""
    consumer = start_consumer("--workers", "1", "--no-periodic")
    hangs()
    wait_for(lambda: memory.get("hangs"))
    waiting = [add(number, 100) for number in range(5)]
    os.killpg(consumer.pid, signal.SIGKILL)
    consumer.wait()
    assert huey.pending_count() == 5 and huey.is_locked("printer")
    try:
        waiting[0].get(blocking=True, timeout=0.2)
        raise AssertionError("nobody is there, and there is a result")
    except ResultTimeout:
        pass
    consumer = start_consumer("--workers", "2", "--flush-locks")
    try:
        assert [result_of(task) for task in waiting] == [100, 101, 102, 103, 104]
        assert not huey.is_locked("printer")
    finally:
        stop(consumer)


def own_tests(name, database):
    """One of the package's own test cases. They name no server, and all of them use the same keys."""
    begin = Connection.__init__
    place = {**memory.connection_pool.connection_kwargs, "db": int(database)}
    Connection.__init__ = lambda self, *args, **settings: begin(self, *args, **{**settings, **place})
    from huey.tests import test_helpers, test_storage

    case = getattr(test_storage, name, None) or getattr(test_helpers, name)
    result = unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    assert result.testsRun > len(result.skipped)
    return result.wasSuccessful()


def main():
    memory.flushdb()
    tests = [
        (name, subprocess.Popen([sys.executable, __file__, URL, name, str(2 + at)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        for at, name in enumerate(OWN_TESTS)
    ]
    keeps_order()
    runs_tasks()
    outlives_its_consumers()
    for name, test in tests:
        told, _ = test.communicate(timeout=60)
        assert test.returncode == 0, f"{name}: {told}"
    memory.flushdb()
    print("Huey: priorities, tasks for later, results, retries, locks, chords, a consumer that is killed, and its own tests of six ways to keep that")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(not own_tests(*sys.argv[2:]))
    # Tasks have the name that their consumers know them by.
    import huey_queue

    huey_queue.main()

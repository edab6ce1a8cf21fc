"""RQ: jobs that are put in, taken by a worker and done, unique ones, the locks of its scheduler, and results and failures, which RQ keeps in streams.

Called with the URL of a server.
"""

import sys

import redis
from rq import Queue, SimpleWorker
from rq.exceptions import DuplicateJobError
from rq.scripts import UNIQUE_ENQUEUE_SCRIPT

client = redis.Redis.from_url(sys.argv[1])
client.flushdb()


def add(one, other):
    memory = redis.Redis.from_url(sys.argv[1])
    memory.rpush("done", one + other)


def divide(one, other):
    return one / other


if __name__ == "__main__":
    sys.modules["rq_queue"] = sys.modules["__main__"]
    add.__module__ = divide.__module__ = "rq_queue"
    queue = Queue(connection=client)
    for number in range(10):
        queue.enqueue(add, number, 1, result_ttl=0)
    unique = queue.enqueue(add, 100, 1, job_id="once", unique=True, result_ttl=0)
    try:
        queue.enqueue(add, 100, 1, job_id="once", unique=True, result_ttl=0)
        raise AssertionError("a job is there twice")
    except DuplicateJobError:
        pass
    assert len(queue) == 11 and UNIQUE_ENQUEUE_SCRIPT
    assert SimpleWorker([queue], connection=client).work(burst=True, logging_level="ERROR")
    assert sorted(int(done) for done in client.lrange("done", 0, -1)) == [*range(1, 11), 101]
    for number in range(5):
        queue.enqueue(add, number, 1, result_ttl=0)
    assert queue.empty() == 5 and len(queue) == 0
    divisions = [queue.enqueue(divide, 10, other) for other in (4, 2, 0)]
    assert SimpleWorker([queue], connection=client).work(burst=True, logging_level="CRITICAL")
    assert [job.return_value(refresh=True) for job in divisions] == [2.5, 5.0, None]
    failed = divisions[2].latest_result()
    assert failed.type == failed.Type.FAILED and "ZeroDivisionError" in failed.exc_string and len(divisions[0].results()) == 1
    assert client.type(f"rq:results:{divisions[0].id}") == b"stream"
    client.flushdb()
    print("RQ: jobs, unique jobs, a worker, results, an emptied queue")

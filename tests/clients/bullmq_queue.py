"""BullMQ by its Python package, whose scripts are those of the Node package: jobs with priorities, delays, retries, a rate, parents and schedules,
the stream of their events, a worker that is killed amid a job.

Called with the URL of a server. Prints what each part leaves in the keys, without times and random names: it is the same at each server.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time

import redis
from bullmq import FlowProducer, Queue, QueueEvents, QueueEventsProducer, Worker
from bullmq.custom_errors import UnrecoverableError

URL = sys.argv[1]
memory = redis.Redis.from_url(URL, decode_responses=True)
# A worker waits longer than the five seconds that redis-py waits for any answer.
HERE = {"connection": f"{URL}?socket_timeout=60"}
WORKS = {**HERE, "drainDelay": 1}
# They come and go with a worker's turns, or are gone by their time.
PASSING = (":marker", ":pc", ":stalled-check", ":limiter", ":lock")


async def until(what, seconds=30):
    ends = time.monotonic() + seconds
    while True:
        found = what()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < ends, "it does not come"
        await asyncio.sleep(0.01)


async def work(name, process, jobs, **options):
    """Runs a worker until so many jobs have an end, and says in which order they began."""
    began, ended = [], []

    async def beginning(job, token):
        began.append(job.id)
        return await process(job, token)

    worker = Worker(name, beginning, {**WORKS, **options})
    worker.on("completed", lambda job, value: ended.append(job.id))
    worker.on("failed", lambda job, error: job.attemptsMade >= job.opts.get("attempts", 0) and ended.append(job.id))
    await until(lambda: len(ended) >= jobs)
    await worker.close()
    assert len(ended) == jobs, (ended, jobs)
    return began


async def double(job, token):
    return {"doubled": job.data["n"] * 2}


def without_times(text, names):
    """Times in milliseconds, scores made of them, and random names as they come."""
    text = re.sub(r"(?<!\d)1[6-9]\d{11}(?!\d)", "TIME", text)
    text = re.sub(r"(?<!\d)[67]\d{15}(?!\d)", "DUE", text)
    return re.sub(r"\b[0-9a-f]{32}\b", lambda found: names.setdefault(found[0], f"NAME{len(names)}"), text)


def tell(part, **facts):
    """What there is now, and then nothing any more."""
    names = {}
    for name, value in facts.items():
        print(without_times(f"{part}: {name} {json.dumps(value, default=str)}", names))
    read = {
        "string": memory.get,
        "list": lambda key: memory.lrange(key, 0, -1),
        "hash": lambda key: sorted(memory.hgetall(key).items()),
        "set": lambda key: sorted(memory.smembers(key)),
        "zset": lambda key: sorted((member, int(score)) for member, score in memory.zrange(key, 0, -1, withscores=True)),
        "stream": lambda key: [fields for _, fields in memory.xrange(key) if fields.get("event") != "drained"],
    }
    for key in sorted(memory.keys()):
        if not key.endswith(PASSING):
            kind = memory.type(key)
            print(without_times(f"{part}: {kind} {key} {json.dumps(read[kind](key))}", names))
    memory.flushdb()


async def plain_jobs():
    queue = Queue("plain", HERE)
    data = {"n": 4, "text": "größer\u0000", "large": 2**53, "parts": [1, 2.5, None, True, {}], "long": "x" * 20_000}
    await queue.add("first", data)
    await queue.add("named", {"n": 5}, {"jobId": "own name"})
    again = await queue.add("named", {"n": 6}, {"jobId": "own name"})
    await queue.add("in front", {"n": 7}, {"lifo": True})
    await queue.add("once", {"n": 8}, {"deduplication": {"id": "one", "ttl": 60_000}})
    same = await queue.add("once", {"n": 9}, {"deduplication": {"id": "one", "ttl": 60_000}})
    # In one transaction.
    bulk = await queue.addBulk([{"name": "bulk", "data": {"n": n}, "opts": {"attempts": 2}} for n in range(5)])
    last = Queue("last", {**HERE, "defaultJobOptions": {"removeOnComplete": {"count": 2}}})
    for n in range(5):
        await last.add("job", {"n": n})
    await work("last", double, 5)
    kept = [job.id for job in await last.getCompleted()]
    await last.close()
    counts = await queue.getJobCounts("waiting", "active", "completed")
    waiting = [job.id for job in await queue.getWaiting()]
    began = await work("plain", double, 9)
    jobs = {job.id: [job.data["n"], job.returnvalue] for job in await queue.getCompleted()}
    state = await queue.getJobState("own name")
    ids = [again.id, same.id, await queue.getDeduplicationJobId("one"), *(job.id for job in bulk)]
    await queue.close()
    assert jobs["1"] == [4, {"doubled": 8}] and began == ["4", "1", "own name", "5", "7", "8", "9", "10", "11"] and kept == ["5", "4"]
    tell("plain jobs", ids=ids, counts=sorted(counts.items()), waiting=waiting, began=began, jobs=sorted(jobs.items()), state=state)


async def priorities():
    queue = Queue("urgent", HERE)
    for n in range(30):
        await queue.add("job", {"n": n}, {"priority": n * 7 % 5, "jobId": f"job-{n}"})
    job = await queue.getJob("job-3")
    await job.changePriority({"priority": 4, "lifo": True})
    counts = await queue.getCountsPerPriority([0, 1, 2, 3, 4])
    prioritized = [job.id for job in await queue.getPrioritized()]
    began = await work("urgent", double, 30)
    await queue.close()
    expected = sorted((n for n in range(30) if n != 3), key=lambda n: (n * 7 % 5, n))
    at = next(at for at, n in enumerate(expected) if n * 7 % 5 == 4)
    assert began == [f"job-{n}" for n in expected[:at] + [3] + expected[at:]], began
    tell("priorities", counts=sorted(counts.items()), prioritized=prioritized)


async def retries():
    queue = Queue("retried", HERE)
    tries = {}

    async def stubborn(job, token):
        tries[job.name] = tries.get(job.name, 0) + 1
        await job.log(f"try {tries[job.name]}")
        await job.updateProgress(tries[job.name] * 10)
        if job.name == "never":
            raise UnrecoverableError("never")
        if tries[job.name] < job.data["works at"]:
            raise ValueError(f"not at {tries[job.name]}")
        await job.updateData({**job.data, "done": True})
        return tries[job.name]

    # One after the other: what comes when depends on nobody's speed.
    worker = Worker("retried", stubborn, WORKS)
    for name, works_at, options in (
        ("at once", 3, {"attempts": 3}),
        ("later", 2, {"attempts": 5, "backoff": {"type": "fixed", "delay": 150}}),
        ("slower", 3, {"attempts": 3, "backoff": {"type": "exponential", "delay": 200}}),
        ("too often", 9, {"attempts": 2}),
        ("never", 1, {"attempts": 9}),
    ):
        job = await queue.add(name, {"works at": works_at}, {**options, "stackTraceLimit": 0})
        await until(lambda: memory.zscore("bull:retried:completed", job.id) or memory.zscore("bull:retried:failed", job.id))
    await worker.close()
    failed = sorted((job.name, job.failedReason, job.attemptsMade) for job in await queue.getFailed())
    logs = await queue.getJobLogs("1")
    await (await queue.getJob("4")).retry()
    await queue.retryJobs({"state": "failed"})
    waiting = [job.id for job in await queue.getWaiting()]
    await queue.close()
    assert tries == {"at once": 3, "later": 2, "slower": 3, "too often": 2, "never": 1}, tries
    tell("retries", failed=failed, logs=logs, waiting=waiting)


async def delays():
    queue = Queue("delayed", HERE)
    begin = time.time()
    for n, delay in enumerate((1500, 500, 1000, 60_000, 70_000)):
        await queue.add("job", {"n": n}, {"delay": delay, "jobId": f"job-{n}"})
    delayed = sorted(job.id for job in await queue.getDelayed())
    await (await queue.getJob("job-3")).promote()
    await queue.remove("job-4")
    moments = {}

    async def note(job, token):
        moments[job.id] = time.time() - begin

    began = await work("delayed", note, 4)
    await queue.close()
    assert began == ["job-3", "job-1", "job-2", "job-0"]
    assert moments["job-1"] >= 0.5 and moments["job-2"] >= 1.0 and moments["job-0"] >= 1.5, moments
    tell("delays", delayed=delayed)


async def events():
    """Who reads the stream in the moment that an event comes sees all of them, in their order."""
    queue, heard = Queue("heard", HERE), []
    listener = QueueEvents("heard", {**HERE, "lastEventId": "0-0", "blockingTimeout": 2000})
    for event in ("added", "waiting", "active", "completed", "failed", "retries-exhausted", "progress", "removed", "paused", "resumed", "mine"):
        listener.on(event, lambda args, entry, event=event: heard.append([entry, event, args.get("jobId")]))
    producer = QueueEventsProducer("heard", HERE)

    async def process(job, token):
        await job.updateProgress({"part": job.data["n"]})
        if job.data["n"] == 2:
            raise ValueError("two")
        return job.data["n"]

    for n in range(5):
        await queue.add("job", {"n": n}, {"stackTraceLimit": 0})
    await queue.pause()
    paused = await queue.isPaused()
    await queue.resume()
    await work("heard", process, 5)
    await queue.remove("1")
    await producer.publishEvent({"eventName": "mine", "jobId": "3", "word": "hello"})
    await until(lambda: heard and heard[-1][1] == "mine")
    there = memory.xrange("bull:heard:events")
    await listener.close()
    await producer.close()
    told = [[entry, fields["event"], fields.get("jobId")] for entry, fields in there if fields["event"] != "drained"]
    assert heard == told, (heard, told)
    await queue.trimEvents(3)
    await queue.close()
    tell("events", heard=[event[1:] for event in heard], paused=paused)


async def flows():
    producer, parents, children = FlowProducer(HERE), Queue("parents", HERE), Queue("children", HERE)
    leaf = lambda n, **opts: {"name": "leaf", "queueName": "children", "data": {"n": n}, "opts": {"jobId": f"leaf-{n}", "stackTraceLimit": 0, **opts}}
    branch = {"name": "branch", "queueName": "children", "data": {"n": 100}, "opts": {"jobId": "branch"}, "children": [leaf(1), leaf(2)]}
    root = {"name": "root", "queueName": "parents", "data": {}, "opts": {"jobId": "root"}, "children": [branch, leaf(3, priority=2), leaf(4)]}
    await producer.add(root)
    opts = lambda name: {"jobId": name, "stackTraceLimit": 0}
    parent = lambda name, child: {"name": name, "queueName": "parents", "data": {}, "opts": opts(name), "children": [child]}
    await producer.addBulk([parent("sad", leaf(13, failParentOnFailure=True)), parent("calm", leaf(14, ignoreDependencyOnFailure=True))])
    states = [await parents.getJobState(job) for job in ("root", "sad", "calm")]

    async def process(job, token):
        if job.data["n"] > 10 and job.name == "leaf":
            raise ValueError("a bad number")
        return job.data["n"] + sum((await job.getChildrenValues()).values())

    async def gather(job, token):
        return sorted((await job.getChildrenValues()).items())

    await work("children", process, 7)
    worker = Worker("parents", gather, WORKS)
    await until(lambda: memory.zcard("bull:parents:completed") == 2 and memory.zcard("bull:parents:failed") == 1)
    await worker.close()
    results = {job.id: job.returnvalue for job in await parents.getCompleted()}
    await producer.close()
    await parents.close()
    await children.close()
    assert results["root"] == [["bull:children:branch", 103], ["bull:children:leaf-3", 3], ["bull:children:leaf-4", 4]], results
    assert states == ["waiting-children"] * 3
    tell("flows", results=sorted(results.items()))


async def schedules():
    queue, runs = Queue("scheduled", HERE), []

    async def note(job, token):
        runs.append(job.name)

    await queue.upsertJobScheduler("often", {"every": 100, "limit": 3}, "tick", {"a": 1})
    await queue.upsertJobScheduler("rarely", {"pattern": "0 0 3 1 *"}, "tock", {})
    names = sorted(scheduler["key"] for scheduler in await queue.getJobSchedulers())
    rarely = await queue.getJobScheduler("rarely")
    removed = [await queue.removeJobScheduler(name) for name in ("rarely", "neither")]
    worker = Worker("scheduled", note, WORKS)
    await until(lambda: len(runs) == 3)
    await worker.close()
    counts = await queue.getJobCounts("waiting", "active", "delayed")
    await queue.close()
    assert runs == ["tick"] * 3, runs
    told = [fields["event"] for _, fields in memory.xrange("bull:scheduled:events") if fields["event"] != "drained"]
    print("schedules:", names, rarely["pattern"], removed, sorted(counts.items()), told)
    memory.flushdb()


async def rates():
    """Not more than the rate allows, and not more at once than the queue allows."""
    queue, moments, inside = Queue("slow", HERE), [], []

    async def process(job, token):
        moments.append(time.time())
        inside.append(job.id)
        assert len(inside) == 1
        await asyncio.sleep(0.01)
        inside.remove(job.id)

    for n in range(7):
        await queue.add("job", {"n": n})
    begin = time.time()
    await work("slow", process, 7, limiter={"max": 3, "duration": 400})
    assert moments[3] - begin >= 0.4 and moments[6] - begin >= 0.8, [moment - begin for moment in moments]
    await queue.setGlobalConcurrency(1)
    await queue.addBulk([{"name": "job", "data": {"n": n}} for n in range(6)])
    workers = [Worker("slow", process, {**WORKS, "concurrency": 5}) for _ in range(2)]
    await until(lambda: memory.zcard("bull:slow:completed") == 13)
    names = await queue.get_workers_count()
    for worker in workers:
        await worker.close()
    await queue.close()
    print("rates:", names, "connections of workers")
    memory.flushdb()


async def many():
    """Each job once, whoever takes it."""
    queue, done = Queue("many", HERE), []

    async def process(job, token):
        done.append(job.data["n"])

    await queue.addBulk([{"name": "job", "data": {"n": n}, "opts": {"removeOnComplete": True, "priority": n % 3}} for n in range(600)])
    workers = [Worker("many", process, {**WORKS, "concurrency": 10}) for _ in range(3)]
    await until(lambda: len(done) >= 600)
    for worker in workers:
        await worker.close()
    assert sorted(done) == list(range(600))
    await queue.addBulk([{"name": "job", "data": {"n": n}, "opts": {"delay": 60_000 * (n % 2)}} for n in range(40)])
    await queue.promoteJobs({"count": 10})
    promoted = await queue.getJobCounts("waiting", "delayed")
    await queue.drain()
    await queue.addBulk([{"name": "job", "data": {"n": n}, "opts": {"delay": 60_000}} for n in range(5)])
    cleaned = len(await queue.clean(0, 100, "delayed"))
    await queue.addBulk([{"name": "job", "data": {"n": n}} for n in range(40)])
    await queue.obliterate()
    await queue.close()
    left = [key for key in memory.keys() if not key.endswith(PASSING)]
    print("many:", sorted(promoted.items()), cleaned, left)
    memory.flushdb()


async def hang(job, token):
    memory.set("hangs", os.getpid())
    await asyncio.sleep(60)


SHORT = {"lockDuration": 500, "stalledInterval": 250}


async def killed():
    """A job whose worker is dead is begun again by another one, when its lock has gone."""
    queue, stalled = Queue("mortal", HERE), []
    await queue.add("job", {"n": 1})
    child = subprocess.Popen([sys.executable, __file__, URL, "hang"])
    await until(lambda: memory.get("hangs"))
    child.send_signal(signal.SIGKILL)
    child.wait()
    ended = []
    worker = Worker("mortal", double, {**WORKS, **SHORT})
    worker.on("stalled", stalled.append)
    worker.on("completed", lambda job, value: ended.append([job.id, value, job.attemptsStarted, job.stalledCounter]))
    await until(lambda: ended)
    await worker.close()
    await queue.close()
    assert stalled == ["1"] and ended == [["1", {"doubled": 2}, 2, 1]], (stalled, ended)
    memory.delete("hangs")
    tell("killed", ended=ended)


async def main():
    memory.flushdb()
    for part in (plain_jobs, priorities, retries, delays, events, flows, schedules, rates, many, killed):
        await asyncio.wait_for(part(), 60)
    print("BullMQ: jobs, priorities, delays, retries, events, flows, schedules, rates, a worker that is killed")


async def be_killed():
    await Worker("mortal", hang, {**WORKS, **SHORT, "autorun": False}).run()


if __name__ == "__main__":
    asyncio.run(be_killed() if sys.argv[2:] else main())

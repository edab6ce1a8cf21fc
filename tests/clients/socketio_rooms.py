"""python-socketio with Redis between its servers: what is said on one reaches the clients of the other, by rooms and in order; acknowledgements come
back, and a program that is no server speaks to all.

Called with the URL of a server.
"""

import logging
import sys
import threading
import time

import redis
import socketio
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)

CHANNEL = "shop-chat"
memory = redis.Redis.from_url(sys.argv[1])


def wait_for(what, seconds=30):
    ends = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < ends, "it does not come"
        time.sleep(0.01)
    return found


class Node:
    """One of the servers."""

    def __init__(self):
        manager = socketio.RedisManager(sys.argv[1], channel=CHANNEL)
        self.server = socketio.Server(async_mode="threading", client_manager=manager)
        self.server.on("enter", lambda sid, room: self.server.enter_room(sid, room))
        self.server.on("say", lambda sid, room, words: self.server.emit("said", words, room=room))
        self.http = make_server("127.0.0.1", 0, socketio.WSGIApp(self.server), threaded=True)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


class Visitor:
    """A client of one of them."""

    def __init__(self, node, room):
        self.heard, self.is_gone = [], threading.Event()
        self.client = socketio.Client()
        self.client.on("said", self.heard.append)
        self.client.on("asked", lambda number: number + 1)
        self.client.on("disconnect", lambda *_: self.is_gone.set())
        self.client.connect(f"http://127.0.0.1:{node.http.server_port}", wait_timeout=30, transports=["polling"])
        self.client.call("enter", room, timeout=30)

    def say(self, room, words):
        self.client.call("say", (room, words), timeout=30)

    def hears(self, expected):
        wait_for(lambda: len(self.heard) >= len(expected))
        assert self.heard == expected, self.heard
        self.heard.clear()


one, other = Node(), Node()
# A server makes its manager work with its first client.
ann, ben, eve = Visitor(one, "tea"), Visitor(other, "tea"), Visitor(other, "salt")
wait_for(lambda: memory.pubsub_numsub(CHANNEL) == [(CHANNEL.encode(), 2)])

ann.say("tea", "hello")
ann.hears(["hello"]), ben.hears(["hello"])
ben.say("salt", {"price": 3})
eve.hears([{"price": 3}])
numbers = list(range(200))
for number in numbers:
    ann.say("tea", number)
ben.hears(numbers), ann.hears(numbers)
ann.say("tea", bytes(range(256)))
ben.hears([bytes(range(256))]), ann.hears([bytes(range(256))])

# Who is no server, and has no clients of its own.
socketio.RedisManager(sys.argv[1], channel=CHANNEL, write_only=True).emit("said", "we close", namespace="/")
for visitor in (ann, ben, eve):
    visitor.hears(["we close"])

# An acknowledgement goes back to the server that asked, and a client can be sent away by a server that does not have it.
acknowledged = []
one.server.emit("asked", 41, to=ben.client.get_sid(), callback=acknowledged.append)
wait_for(lambda: acknowledged == [42])
one.server.disconnect(eve.client.get_sid())
assert eve.is_gone.wait(30)
one.server.close_room("tea")
ann.say("tea", "nobody is there")
ben.say("salt", "nor there")
one.server.emit("said", "the end")
ann.hears(["the end"]), ben.hears(["the end"])

for visitor in (ann, ben):
    visitor.client.disconnect()
one.http.shutdown(), other.http.shutdown()
print("python-socketio: two servers, rooms, order, bytes, acknowledgements, a program that only speaks")

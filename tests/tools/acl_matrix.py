#!/usr/bin/env python3
"""acl_matrix.py - generated ACL rules and what they allow: the same verdicts as redis-server.

  acl_matrix.py REDIS OURS [--seed N] [--users N]

REDIS, OURS are host:port. Both get the same users. Of each user are compared whether its rules are taken, what ACL DRYRUN says of many calls (OK, or
that the command, which key, or which channel is denied), and whether the same calls, sent as that user, are denied; a script's calls, too.
Give it only scratch servers: they are FLUSHED, and their users removed. Exit: 0 all agree, 1 not.
"""
import argparse, random, re, socket, sys

# Commands that both have, with arguments. Those that end a connection, wait, or stop a server are only asked about.
CALLS = """
GET foo:1; GET bar:1; GET zap; SET foo:1 x; SET bar:1 x; SET foo:1 x GET; SET zap x GET; GETSET bar:2 y; MGET foo:1 bar:1; MGET foo:1 zap; MSET foo:1 a bar:2 b;
APPEND foo:2 x; STRLEN foo:1; STRLEN zap; GETRANGE foo:1 0 1; SETRANGE bar:1 0 x; INCR foo:n; DECRBY bar:n 2; INCRBYFLOAT foo:f 1.5; GETDEL foo:1; GETEX foo:1;
GETEX foo:1 PERSIST; SETEX foo:1 100 x; LCS foo:1 bar:1; DEL foo:1; DEL zap; UNLINK bar:1; EXISTS foo:1; EXISTS zap; TOUCH bar:1; TYPE foo:1; TYPE zap; RENAME foo:1 foo:9;
RENAME foo:9 bar:9; COPY foo:1 bar:3; COPY bar:3 foo:4; EXPIRE foo:1 100; TTL foo:1; PERSIST bar:1; KEYS *; SCAN 0; RANDOMKEY; DBSIZE; OBJECT ENCODING foo:1;
OBJECT FREQ foo:1; OBJECT HELP; DUMP foo:1; RESTORE bar:8 0 x; SORT foo:l; SORT foo:l STORE bar:l; SORT bar:l STORE foo:l; SORT foo:l BY w_*; SORT foo:l GET w_*;
SORT_RO foo:l; SORT_RO bar:l BY w_* GET #; LPUSH foo:l 1; RPUSH bar:l 1; LRANGE foo:l 0 -1; LLEN bar:l; LPOP foo:l; RPOP bar:l; LMOVE foo:l bar:l LEFT RIGHT;
RPOPLPUSH bar:l foo:l; LINSERT foo:l BEFORE 1 2; LPOS foo:l 1; LREM bar:l 0 1; LTRIM foo:l 0 1; LMPOP 2 foo:l bar:l LEFT; BLPOP foo:l 0.01; HSET foo:h a 1; HGET foo:h a;
HEXISTS bar:h a; HDEL foo:h a; HGETALL bar:h; HINCRBY foo:h n 1; HSCAN foo:h 0; HRANDFIELD bar:h; HSTRLEN foo:h a; SADD foo:s a; SREM bar:s a; SISMEMBER foo:s a;
SMEMBERS bar:s; SINTER foo:s bar:s; SINTERCARD 2 foo:s bar:s; SUNIONSTORE foo:t foo:s bar:s; SDIFFSTORE bar:t foo:s zap; SMOVE foo:s bar:s a; SPOP foo:s; SRANDMEMBER bar:s;
ZADD foo:z 1 a; ZREM bar:z a; ZSCORE foo:z a; ZRANGE bar:z 0 -1; ZRANGESTORE foo:y bar:z 0 -1; ZCOUNT foo:z 0 1; ZCARD zap; ZUNION 2 foo:z bar:z; ZINTERCARD 2 foo:z bar:z;
ZUNIONSTORE bar:y 2 foo:z bar:z; ZINCRBY foo:z 1 a; ZPOPMIN bar:z; ZMPOP 1 foo:z MIN; ZRANK foo:z a; ZSCAN bar:z 0; PFADD foo:p a; PFCOUNT bar:p; PFCOUNT foo:p zap;
PFMERGE foo:q foo:p bar:p; SETBIT foo:b 1 1; GETBIT bar:b 1; BITCOUNT foo:b; BITOP AND foo:c foo:b bar:b; BITPOS bar:b 1; BITFIELD foo:b GET u4 0; BITFIELD bar:b SET u4 0 1;
BITFIELD_RO foo:b GET u4 0; GEOADD foo:g 1 1 a; GEOPOS bar:g a; GEODIST foo:g a b; GEOSEARCH foo:g FROMLONLAT 1 1 BYRADIUS 1 m; GEOSEARCHSTORE bar:o foo:g FROMLONLAT 1 1 BYRADIUS 1 m;
XADD foo:x * f v; XADD bar:x 1-1 f v; XLEN foo:x; XLEN zap; XRANGE bar:x - +; XREVRANGE foo:x + -; XDEL foo:x 1-1; XTRIM bar:x MAXLEN 1; XSETID bar:x 9-9; XREAD STREAMS zap 0;
XREAD COUNT 1 STREAMS foo:x bar:x 0 0; XGROUP CREATE foo:x g 0 MKSTREAM; XGROUP CREATE bar:x g $; XGROUP SETID foo:x g 0; XGROUP CREATECONSUMER bar:x g c; XGROUP DELCONSUMER foo:x g c;
XREADGROUP GROUP g c STREAMS foo:x bar:x > >; XREADGROUP GROUP g c NOACK STREAMS zap >; XACK foo:x g 1-1; XPENDING bar:x g; XCLAIM foo:x g c 0 1-1; XAUTOCLAIM bar:x g c 0 0;
XGROUP DESTROY zap g; XGROUP HELP; XINFO STREAM foo:x; XINFO GROUPS bar:x; XINFO CONSUMERS foo:x g; XINFO HELP; @XREAD BLOCK 0 STREAMS foo:x $; @XREADGROUP GROUP g c BLOCK 0 STREAMS foo:x >;
GEORADIUS foo:g 1 1 1 m STORE bar:o; GEORADIUS bar:g 1 1 1 m STOREDIST foo:o; GEORADIUS_RO foo:g 1 1 1 m; PING; ECHO x; SELECT 0; SELECT 1; TIME; LASTSAVE; INFO; COMMAND COUNT;
COMMAND GETKEYS GET x; CONFIG GET maxclients; CONFIG SET slowlog-max-len 128; CONFIG HELP; CLIENT ID; CLIENT GETNAME; CLIENT LIST; CLIENT INFO; CLIENT SETNAME x; CLIENT HELP;
MEMORY USAGE foo:1; MEMORY DOCTOR; SLOWLOG LEN; SLOWLOG GET 1; LATENCY LATEST; ACL WHOAMI; ACL LIST; ACL CAT; ACL GENPASS; ACL USERS; ACL LOG RESET; ACL HELP; PUBLISH foo:1 m;
PUBLISH zap m; SPUBLISH bar:1 m; PUBSUB CHANNELS; PUBSUB NUMPAT; MULTI; DISCARD; UNWATCH; WATCH foo:1 bar:1; FLUSHDB; FLUSHALL; SWAPDB 1 2; LOLWUT; ROLE; WAIT 0 0;
@SUBSCRIBE foo:1; @SUBSCRIBE foo:1 zap; @PSUBSCRIBE foo:*; @PSUBSCRIBE bar:?; @SSUBSCRIBE bar:1; @UNSUBSCRIBE zap; @PUNSUBSCRIBE zap; @SUNSUBSCRIBE zap; @MONITOR; @SHUTDOWN;
@DEBUG OBJECT foo:1; @DEBUG SLEEP 0; @AUTH x; @HELLO 3; @RESET; @QUIT; @EXEC; @SAVE; @BGSAVE; @CLIENT KILL TYPE normal; @CLIENT PAUSE 0; @CLIENT NO-EVICT on; @CLIENT REPLY ON;
@CLIENT TRACKING off; @BLMOVE foo:l bar:l LEFT RIGHT 0; @BRPOPLPUSH foo:l bar:l 0; @BZPOPMIN foo:z bar:z 0; @BLMPOP 0 2 foo:l bar:l LEFT; @ACL SETUSER x; @ACL DELUSER x; @ACL SAVE;
@CONFIG RESETSTAT; @LATENCY RESET; @REPLICAOF NO ONE; EVAL return 0; EVAL return 1 foo:1; EVAL return 2 bar:1 zap; EVAL return 3 foo:1 bar:1; EVAL return -1 zap; EVAL_RO return 1 foo:1;
EVAL_RO return 2 bar:1 zap; EVALSHA 0 1 bar:1; EVALSHA_RO 0 1 zap; FCALL f 1 foo:1; FCALL f 2 foo:1 zap; FCALL_RO f 1 bar:1; SCRIPT HELP; SCRIPT EXISTS x; SCRIPT LOAD return; FUNCTION LIST;
FUNCTION STATS; FUNCTION HELP; @SCRIPT FLUSH; @SCRIPT KILL; @FUNCTION FLUSH; EVAL redis.call('get','foo:1') 0; EVAL redis.call('get','bar:1') 0; EVAL redis.call('set','foo:1','x') 0;
EVAL redis.call('set','bar:1','x') 0; EVAL_RO redis.call('exists','zap') 0; EVAL redis.call('publish','foo:1','m') 0; EVAL redis.call('object','encoding','foo:1') 0;
EVAL redis.call('sort','foo:l','by','w_*') 0; EVAL redis.call('lmove','foo:l','bar:l','LEFT','RIGHT') 0; EVAL assert(redis.acl_check_cmd('get','bar:1'),'NOPERM') 0;
EVAL assert(redis.acl_check_cmd('set','foo:1','x'),'NOPERM') 0; EVAL assert(redis.acl_check_cmd('config','get','x'),'NOPERM') 0; EVAL assert(redis.acl_check_cmd('publish','bar:1','m'),'NOPERM') 0
"""
COMMANDS = ("get set mget mset append del exists keys scan sort object copy rename lpush lrange blpop hset hgetall sadd sinter zadd zrange pfadd pfcount setbit bitcount geoadd "
            "georadius xadd xread xreadgroup xgroup xinfo xdel ping echo select info config client memory slowlog latency acl publish subscribe psubscribe ssubscribe multi exec watch flushall debug shutdown monitor dbsize eval eval_ro evalsha fcall fcall_ro script function").split()
SUBCOMMANDS = ("config|get config|set client|id client|list client|kill client|setname memory|usage memory|doctor slowlog|get acl|whoami acl|list acl|setuser acl|cat object|encoding "
               "object|freq command|count pubsub|channels latency|latest xgroup|create xgroup|destroy xinfo|stream script|load script|exists function|list function|stats").split()
CATEGORIES = ("keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub admin fast slow blocking dangerous connection transaction scripting").split()
# Rules that are refused: both say the same of them.
BAD = ["+bogus", "+@bogus", "-config|bogus", "+config|get|x", "+select|", "%X~a", "bogus", "#12", "<nobody", "~a b", "(+get", "-select|0", "+@all|x", ")", "&a b"]

class Server:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 30)
        self.file = self.socket.makefile("rb")

    def send(self, words):
        parts = [word if isinstance(word, bytes) else word.encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

    def read(self):
        line = self.file.readline()
        if not line: raise SystemExit("a server has closed the connection")
        kind, rest = line[:1], line[1:-2].decode(errors="replace")
        if kind in b"+:": return rest
        if kind == b"-": return "-" + rest
        if kind == b"$": return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode(errors="replace")
        return [self.read() for _ in range(max(int(rest), 0))]

    def call(self, *words):
        self.send(words)
        return self.read()

def rule(rng):
    sign = rng.choice("++-")
    return rng.choice([
        lambda: sign + rng.choice(COMMANDS), lambda: sign + rng.choice(COMMANDS), lambda: sign + rng.choice(SUBCOMMANDS), lambda: sign + rng.choice(SUBCOMMANDS),
        lambda: sign + "@" + rng.choice(CATEGORIES), lambda: sign + "@" + rng.choice(CATEGORIES), lambda: sign + "@" + rng.choice(CATEGORIES),
        lambda: rng.choice(["+@all", "allcommands", "-@all", "nocommands", "+@all"]), lambda: rng.choice(["+select|0", "+debug|object", "+get|foo:1"]),
        lambda: rng.choice(["~", "~", "%R~", "%W~", "%RW~", "%wr~"]) + rng.choice(["foo:*", "bar:*", "foo:?", "*:l", "[fb]*", "zap", "*", "foo:1", "w_*", "b[^x]r:*"]),
        lambda: rng.choice(["~", "~", "%R~", "%W~"]) + rng.choice(["foo:*", "bar:*"]),
        lambda: "&" + rng.choice(["foo:*", "bar:1", "bar:?", "zap", "foo:1"]), lambda: rng.choice(["allkeys", "resetkeys", "allchannels", "resetchannels", "~*"]),
        lambda: "(" + " ".join(selector_rule(rng) for _ in range(rng.randint(1, 4))) + ")", lambda: rng.choice(["clearselectors", "reset", "nopass", "on", "off", "sanitize-payload"]),
        lambda: rng.choice(BAD) if rng.random() < 0.3 else "+" + rng.choice(COMMANDS)])()

def selector_rule(rng):
    while True:
        text = rule(rng)
        if text[0] in "+-~%&" and " " not in text and text not in BAD: return text

def verdict(reply):
    """The same words for 7.0 and 7.2."""
    if isinstance(reply, list): return "taken"
    if reply is None: return "none"
    found = re.match(r"-?(?:NOPERM )?(?:This user|User \S+) has no permissions to (run|access) the '(.*?)'( key| channel)?", reply, re.I | re.S)
    if found: return f"denied {(found[3] or ' command').strip()} {found[2].lower() if found[1].lower() == 'run' else found[2]}"
    return reply

def is_denied(reply):
    """Also what a script is told of its own calls."""
    return isinstance(reply, str) and re.match("-NOPERM|-.*(NOPERM|ACL failure in script|user executing the script|SORT denied)", reply) is not None

def compare(options):
    rng = random.Random(options.seed)
    redis, ours = Server(options.redis), Server(options.ours)
    calls = [call.strip() for call in CALLS.replace("\n", " ").split(";") if call.strip()]
    asked = [call.lstrip("@").split(" ") for call in calls]
    sent = [call.split(" ") for call in calls if not call.startswith("@")]
    found, taken, verdicts = [], 0, 0
    for server in (redis, ours): server.call("FLUSHALL")
    for number in range(options.users):
        name, rules = f"user{number}", [rule(rng) for _ in range(rng.randint(1, 9))]
        if rng.random() < 0.5: rules.insert(0, rng.choice(["+@all", "allkeys", "+@read", "~foo:*"]))
        replies = [server.call("ACL", "SETUSER", name, *rules) for server in (redis, ours)]
        if replies[0] != replies[1]: found.append(f"SETUSER {name} {' '.join(rules)}: {replies[0]} | {replies[1]}")
        if "OK" not in replies: continue
        taken += 1
        # What Redis shows as ~* and does not read as that again is %RW~* here.
        described = [dict(zip(reply[::2], reply[1::2])) for reply in (server.call("ACL", "GETUSER", name) for server in (redis, ours))]
        for field in ("keys", "channels"):
            if described[0][field] != described[1][field].replace("%RW~*", "~*"): found.append(f"GETUSER {name} {field} {rules}: {described[0][field]} | {described[1][field]}")
        for server in (redis, ours):
            for words in asked: server.send(["ACL", "DRYRUN", name, *words])
        for words in asked:
            verdicts += 1
            both = [verdict(server.read()) for server in (redis, ours)]
            if both[0] != both[1]: found.append(f"{' '.join(rules)}: {' '.join(words)}: {both[0]} | {both[1]}")
        # As the user itself.
        denied = []
        for server, address in ((redis, options.redis), (ours, options.ours)):
            switched = server.call("ACL", "SETUSER", name, "on", "nopass")
            client = Server(address)
            let_in = client.call("AUTH", name, "x")
            if (switched, let_in) != ("OK", "OK"): raise SystemExit(f"{name} of {address} can't log in: {switched}, {let_in}; {rules}")
            denied.append([is_denied(client.call(*words)) for words in sent])
            client.socket.close()
            server.call("ACL", "DELUSER", name)
        verdicts += len(sent)
        for words, *both in zip(sent, *denied):
            if both[0] != both[1]: found.append(f"{' '.join(rules)}: {' '.join(words)} as the user: denied {both[0]} | {both[1]}")
    print(f"{options.users} users, {taken} of them with rules that are taken; {verdicts} verdicts; {len(found)} differ")
    for line in found[:options.shown]: print("  " + line)
    return 1 if found else 0

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("redis"), parser.add_argument("ours")
    parser.add_argument("--seed", type=int, default=1), parser.add_argument("--users", type=int, default=250), parser.add_argument("--shown", type=int, default=40)
    sys.exit(compare(parser.parse_args()))

main()

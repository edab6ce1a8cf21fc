-- The tables of data.db. Everything is ordinary SQL data: open a copy, or the live file, with `sqlite3 data.db`
-- and look at the views at the end (.tables, SELECT * FROM live_key LIMIT 10).
--
--   database ──space──> keyspace ──id──> chunk          (big strings; small ones lie in keyspace.value)
--                          │
--                          └─(expires_at_ms, slot)── expiry
--   orphan: what was deleted at once and is swept in small bites later
--   ticket, meta: the writer's own notes

-- ---- keys ------------------------------------------------------------------------------------------------------
-- slot           space << 48 | position; position is a keyed hash of the key, see slots.rs
-- kind           1 string, 2 list, 3 set, 4 sorted set, 5 hash
-- id             names the rows of the value when it does not lie in `value`; unique in the file, never used twice
-- expires_at_ms  milliseconds since 1970, or NULL; a key whose time has passed is not there, swept or not
-- length         bytes of a string, members of anything else
-- The small columns stand first, so that a long key or value never pushes them off the page.
CREATE TABLE keyspace (
    slot          INTEGER PRIMARY KEY,
    kind          INTEGER NOT NULL,
    id            INTEGER,
    expires_at_ms INTEGER,
    length        INTEGER NOT NULL,
    key           BLOB NOT NULL,
    value         BLOB
);

-- ---- big strings ------------------------------------------------------------------------------------------------
-- place          id << 20 | number of the chunk
-- value          the chunk's bytes; what is missing, at its end or as a whole, is zero bytes
CREATE TABLE chunk (
    place INTEGER PRIMARY KEY,
    value BLOB NOT NULL
);

-- ---- keys by the time when they end -----------------------------------------------------------------------------
CREATE TABLE expiry (
    expires_at_ms INTEGER NOT NULL,
    slot          INTEGER NOT NULL,
    PRIMARY KEY (expires_at_ms, slot)
) WITHOUT ROWID;

-- ---- the numbered databases -------------------------------------------------------------------------------------
-- space          where its keys lie in keyspace.slot; a flush takes a fresh one, a swap exchanges two
-- key_count      rows of the space, keys whose time has passed and that are not yet swept included
-- expires_count  those of them that have an expires_at_ms
CREATE TABLE database (
    number        INTEGER PRIMARY KEY,
    space         INTEGER NOT NULL,
    key_count     INTEGER NOT NULL,
    expires_count INTEGER NOT NULL
);

-- ---- rows that nobody can reach any more, for the sweeper -------------------------------------------------------
-- what           'space': all keyspace rows of space `number`; 'value': all chunks of id `number`
CREATE TABLE orphan (
    what   TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (what, number)
) WITHOUT ROWID;

-- ---- the last job applied of every worker, in the same transaction as its changes -------------------------------
CREATE TABLE ticket (
    incarnation INTEGER PRIMARY KEY,
    number      INTEGER NOT NULL
);

-- hash_seed      16 random bytes: the key of the hash in keyspace.slot
-- next_id        the next keyspace.id
-- ticket_boot    the start of the service that the tickets belong to
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

INSERT INTO meta VALUES ('hash_seed', randomblob(16)), ('next_id', 1), ('ticket_boot', 0);

INSERT INTO database (number, space, key_count, expires_count)
WITH RECURSIVE counter(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counter WHERE n < 15)
SELECT n, n + 1, 0, 0 FROM counter;

-- ---- views for people -------------------------------------------------------------------------------------------
-- Every key that is alive now, of every database. Of a big string the first chunk is shown.
CREATE VIEW live_key AS
SELECT d.number AS database,
       CAST(k.key AS TEXT) AS key,
       CASE k.kind WHEN 1 THEN 'string' WHEN 2 THEN 'list' WHEN 3 THEN 'set' WHEN 4 THEN 'zset' WHEN 5 THEN 'hash' END AS type,
       datetime(k.expires_at_ms / 1000, 'unixepoch') AS expires_at,
       k.length AS length,
       CASE WHEN k.id IS NULL THEN CAST(k.value AS TEXT)
            ELSE (SELECT CAST(c.value AS TEXT) FROM chunk AS c WHERE c.place = k.id << 20) || '...' END AS value
FROM database AS d
JOIN keyspace AS k ON k.slot BETWEEN d.space << 48 AND (d.space << 48) + 281474976710655
WHERE k.expires_at_ms IS NULL OR k.expires_at_ms > CAST(unixepoch('subsec') * 1000 AS INTEGER);

-- What waits for the sweeper: keys whose time has passed, flushed databases, values of deleted keys.
CREATE VIEW waiting_for_sweep AS
SELECT 'expired key' AS what, count(*) AS number
FROM expiry WHERE expires_at_ms <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
UNION ALL SELECT 'flushed space', count(*) FROM orphan WHERE what = 'space'
UNION ALL SELECT 'deleted big value', count(*) FROM orphan WHERE what = 'value';

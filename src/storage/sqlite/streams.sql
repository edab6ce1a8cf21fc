-- Streams.
--
--   keyspace ──id──> stream_entry                          (by the ids of the entries)
--               │       └──apart──> chunk                  (long entries)
--               └──> stream_group
--                       └──apart──> stream_consumer, stream_consumer_name      (the group's consumers)
--                                 > stream_pending, stream_owned               (what they have not acknowledged)
--
-- keyspace.value of a stream: x, then with spaces between: the last id given, the first entry's, the greatest of a deleted entry, how many
-- entries were ever added, how many groups there are, how many nodes Redis would keep the entries in; then, each behind a letter: t the last
-- of these nodes (the id that it begins with, its entries, bytes, a digest of its first entry's fields); f the first one, if it is another
-- (its entries, its last id); d where removed entries may lie before the first one.

-- Numbers of ids have no sign: ms and seq are as much less than they are as makes their order that of integers with a sign.
-- value          n where a node of Redis begins, else e; behind it fields and values in turns, each its length in decimal digits, a colon and its bytes
-- apart          NULL, or the chunks' id where these lie, of so many bytes
-- Rows up to the one that the orphan 'entries' of their stream names are no entries any more: the sweeper takes them.
CREATE TABLE stream_entry (
    id          INTEGER NOT NULL,
    ms          INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    value       BLOB NOT NULL,
    apart       INTEGER,
    value_bytes INTEGER,
    PRIMARY KEY (id, ms, seq)
) WITHOUT ROWID;

-- position, name a keyed hash of the name, and the name; of more than 256 bytes the first 241 and a keyed 128-bit digest of all
-- value          the last id delivered, entries read (or -), pending entries, consumers, and how many consumers there ever were
-- apart          the id of all that belongs to the group; in chunks of it lies a long name
CREATE TABLE stream_group (
    id         INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    name       BLOB NOT NULL,
    value      BLOB NOT NULL,
    apart      INTEGER NOT NULL,
    name_bytes INTEGER NOT NULL,
    PRIMARY KEY (id, position, name)
) WITHOUT ROWID;

-- value          when it was seen, when it got something (or -), pending entries, and its name
CREATE TABLE stream_consumer (
    id          INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    value       BLOB,
    apart       INTEGER,
    value_bytes INTEGER,
    PRIMARY KEY (id, number)
) WITHOUT ROWID;

-- value          the consumer's number
CREATE TABLE stream_consumer_name (
    id          INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    name        BLOB NOT NULL,
    value       BLOB,
    apart       INTEGER,
    name_bytes  INTEGER,
    value_bytes INTEGER,
    PRIMARY KEY (id, position, name)
) WITHOUT ROWID;

-- value          the consumer's number, when it was delivered, how often
CREATE TABLE stream_pending (
    id    INTEGER NOT NULL,
    ms    INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (id, ms, seq)
) WITHOUT ROWID;

-- The same by consumers.
-- entry          both numbers of its id, 8 bytes each
CREATE TABLE stream_owned (
    id       INTEGER NOT NULL,
    consumer INTEGER NOT NULL,
    entry    BLOB NOT NULL,
    PRIMARY KEY (id, consumer, entry)
) WITHOUT ROWID;

-- what           also 'entries': the entries of stream `number` up to `position` (their ms) and `seq`
ALTER TABLE orphan ADD COLUMN seq INTEGER;

-- ---- views for people -------------------------------------------------------------------------------------------

DROP VIEW live_key;
CREATE VIEW live_key AS
SELECT d.number AS database,
       CAST(k.key AS TEXT) AS key,
       CASE k.kind WHEN 1 THEN 'string' WHEN 2 THEN 'list' WHEN 3 THEN 'set' WHEN 4 THEN 'zset' WHEN 5 THEN 'hash' WHEN 6 THEN 'stream' END AS type,
       datetime(k.expires_at_ms / 1000, 'unixepoch') AS expires_at,
       k.length AS length,
       CASE WHEN k.kind = 2 THEN 'see v_list'
            WHEN k.kind = 3 THEN 'see v_set'
            WHEN k.kind = 4 THEN 'see v_zset'
            WHEN k.kind = 5 THEN 'see v_hash'
            WHEN k.kind = 6 THEN 'see v_stream'
            WHEN k.id IS NULL THEN CAST(k.value AS TEXT)
            ELSE (SELECT CAST(c.value AS TEXT) FROM chunk AS c WHERE c.place = k.id << 20) || '...' END AS value
FROM database AS d
JOIN keyspace AS k ON k.slot BETWEEN d.space << 48 AND (d.space << 48) + 281474976710655
WHERE k.expires_at_ms IS NULL OR k.expires_at_ms > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER);

DROP VIEW waiting_for_sweep;
CREATE VIEW waiting_for_sweep AS
SELECT 'expired key' AS what, count(*) AS number
FROM expiry WHERE expires_at_ms <= CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
UNION ALL SELECT 'flushed space', count(*) FROM orphan WHERE what = 'space'
UNION ALL SELECT 'deleted big value', count(*) FROM orphan WHERE what = 'value'
UNION ALL SELECT 'trimmed list', count(*) FROM orphan WHERE what IN ('before', 'behind')
UNION ALL SELECT 'trimmed stream', count(*) FROM orphan WHERE what = 'entries';

-- Entries of streams, a row for each of their fields. A step takes the next item: it lies at `at` and has so many bytes.
-- Of what lies apart the first chunk is shown.
CREATE VIEW v_stream AS
WITH RECURSIVE item(database, key, ms, seq, fields, number, field_at, field_bytes, at, bytes) AS (
    SELECT s.database, s.key, e.ms, e.seq, CASE WHEN e.apart IS NULL THEN e.value ELSE e.value || c.value END, 0, 0, 0, 2, 0
    FROM live_collection AS s
    JOIN stream_entry AS e ON e.id = s.id
    LEFT JOIN chunk AS c ON c.place = e.apart << 20
    LEFT JOIN orphan AS o ON o.what = 'entries' AND o.number = s.id
    WHERE s.kind = 6 AND (o.number IS NULL OR (e.ms, e.seq) > (o.position, o.seq))
    UNION ALL
    SELECT database, key, ms, seq, fields, number + 1, at, bytes,
           at + bytes + instr(substr(CAST(fields AS BLOB), at + bytes, 11), x'3a'),
           CAST(substr(CAST(fields AS BLOB), at + bytes, 10) AS INTEGER)
    FROM item
    WHERE instr(substr(CAST(fields AS BLOB), at + bytes, 11), x'3a') > 1
)
SELECT database, key,
       printf('%u-%u', CASE WHEN ms < 0 THEN ms & 9223372036854775807 ELSE ms | -9223372036854775808 END,
                       CASE WHEN seq < 0 THEN seq & 9223372036854775807 ELSE seq | -9223372036854775808 END) AS id,
       CAST(substr(CAST(fields AS BLOB), field_at, field_bytes) AS TEXT) AS field,
       CAST(substr(CAST(fields AS BLOB), at, bytes) AS TEXT) AS value
FROM item
WHERE number > 0 AND number % 2 = 0;

-- Groups of streams. A word of a value ends at the next space.
CREATE VIEW v_stream_group AS
WITH word(database, key, name, apart, last, rest) AS (
    SELECT s.database, s.key,
           CASE WHEN g.name_bytes > 0 THEN CAST(substr(c.value, 1, g.name_bytes) AS TEXT) ELSE CAST(g.name AS TEXT) END,
           g.apart, substr(CAST(g.value AS TEXT), 1, instr(CAST(g.value AS TEXT), ' ') - 1),
           substr(CAST(g.value AS TEXT), instr(CAST(g.value AS TEXT), ' ') + 1)
    FROM live_collection AS s
    JOIN stream_group AS g ON g.id = s.id
    LEFT JOIN chunk AS c ON c.place = g.apart << 20
    WHERE s.kind = 6
)
SELECT database, key, name AS "group", last AS last_delivered_id, substr(rest, 1, instr(rest, ' ') - 1) AS entries_read,
       CAST(substr(rest, instr(rest, ' ') + 1) AS INTEGER) AS pending,
       (SELECT count(*) FROM stream_consumer AS m WHERE m.id = word.apart) AS consumers
FROM word;

-- What consumers have not acknowledged.
CREATE VIEW v_stream_pending AS
WITH word(database, key, name, apart, ms, seq, consumer, rest) AS (
    SELECT s.database, s.key,
           CASE WHEN g.name_bytes > 0 THEN CAST(substr(c.value, 1, g.name_bytes) AS TEXT) ELSE CAST(g.name AS TEXT) END,
           g.apart, p.ms, p.seq, CAST(CAST(p.value AS TEXT) AS INTEGER),
           substr(CAST(p.value AS TEXT), instr(CAST(p.value AS TEXT), ' ') + 1)
    FROM live_collection AS s
    JOIN stream_group AS g ON g.id = s.id
    JOIN stream_pending AS p ON p.id = g.apart
    LEFT JOIN chunk AS c ON c.place = g.apart << 20
    WHERE s.kind = 6
),
owner(id, number, words) AS (
    SELECT m.id, m.number, CAST(coalesce(m.value, c.value) AS TEXT)
    FROM stream_consumer AS m
    LEFT JOIN chunk AS c ON c.place = m.apart << 20
),
owner2(id, number, words) AS (SELECT id, number, substr(words, instr(words, ' ') + 1) FROM owner),
owner3(id, number, words) AS (SELECT id, number, substr(words, instr(words, ' ') + 1) FROM owner2)
SELECT w.database, w.key, w.name AS "group",
       printf('%u-%u', CASE WHEN w.ms < 0 THEN w.ms & 9223372036854775807 ELSE w.ms | -9223372036854775808 END,
                       CASE WHEN w.seq < 0 THEN w.seq & 9223372036854775807 ELSE w.seq | -9223372036854775808 END) AS id,
       substr(o.words, instr(o.words, ' ') + 1) AS consumer,
       datetime(CAST(w.rest AS INTEGER) / 1000, 'unixepoch') AS delivered_at,
       CAST(substr(w.rest, instr(w.rest, ' ') + 1) AS INTEGER) AS deliveries
FROM word AS w
LEFT JOIN owner3 AS o ON o.id = w.apart AND o.number = w.consumer;

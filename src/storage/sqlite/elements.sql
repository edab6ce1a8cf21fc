-- Hashes and sets.
--
--   keyspace ──id──> hash_field, set_member        (small ones lie in keyspace.value)
--                       └──apart──> chunk          (long fields, values and members)
--
-- keyspace.value of a hash or set: a letter for OBJECT ENCODING (i intset, l listpack, h hashtable); where keyspace.id is NULL, the
-- elements follow: each item is its length in decimal digits, a colon and its bytes; of a hash, fields and values take turns.

-- id             keyspace.id of the hash or set
-- position       a keyed hash of the field or member, the same in all of them
-- field, member  of more than 256 bytes: the first 241 and a keyed 128-bit digest of all
-- apart          NULL, or the chunks' id where the field or member (if it is that long) and then the value lie, of so many bytes
-- A long cell would make every comparison with it read all of it, so rows stay short.
CREATE TABLE hash_field (
    id          INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    field       BLOB NOT NULL,
    value       BLOB,
    apart       INTEGER,
    field_bytes INTEGER,
    value_bytes INTEGER,
    PRIMARY KEY (id, position, field)
) WITHOUT ROWID;

CREATE TABLE set_member (
    id           INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    member       BLOB NOT NULL,
    apart        INTEGER,
    member_bytes INTEGER,
    PRIMARY KEY (id, position, member)
) WITHOUT ROWID;

-- ---- views for people -------------------------------------------------------------------------------------------
-- What is alive now, of every database. They look at all keys: for one of many, ask a copy of the file, or the service.
-- (julianday: the 'subsec' of unixepoch needs a later SQLite than many have.)

DROP VIEW live_key;
CREATE VIEW live_key AS
SELECT d.number AS database,
       CAST(k.key AS TEXT) AS key,
       CASE k.kind WHEN 1 THEN 'string' WHEN 2 THEN 'list' WHEN 3 THEN 'set' WHEN 4 THEN 'zset' WHEN 5 THEN 'hash' END AS type,
       datetime(k.expires_at_ms / 1000, 'unixepoch') AS expires_at,
       k.length AS length,
       CASE WHEN k.kind = 3 THEN 'see v_set'
            WHEN k.kind = 5 THEN 'see v_hash'
            WHEN k.id IS NULL THEN CAST(k.value AS TEXT)
            ELSE (SELECT CAST(c.value AS TEXT) FROM chunk AS c WHERE c.place = k.id << 20) || '...' END AS value
FROM database AS d
JOIN keyspace AS k ON k.slot BETWEEN d.space << 48 AND (d.space << 48) + 281474976710655
WHERE k.expires_at_ms IS NULL OR k.expires_at_ms > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER);

-- What waits for the sweeper: keys whose time has passed, flushed databases, big values and collections of deleted keys.
DROP VIEW waiting_for_sweep;
CREATE VIEW waiting_for_sweep AS
SELECT 'expired key' AS what, count(*) AS number
FROM expiry WHERE expires_at_ms <= CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
UNION ALL SELECT 'flushed space', count(*) FROM orphan WHERE what = 'space'
UNION ALL SELECT 'deleted big value', count(*) FROM orphan WHERE what = 'value';

-- The rows that the next two begin with. (+: so that SQLite makes no index of its own of all keys.)
CREATE VIEW live_collection AS
SELECT d.number AS database, CAST(k.key AS TEXT) AS key, +k.kind AS kind, k.id AS id, k.value AS packed
FROM database AS d
JOIN keyspace AS k ON k.slot BETWEEN d.space << 48 AND (d.space << 48) + 281474976710655
WHERE k.kind <> 1
  AND (k.expires_at_ms IS NULL OR k.expires_at_ms > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));

-- Fields of hashes. A step takes the next item of what is packed: it lies at `at` and has so many bytes.
-- Of what lies apart the first chunk is shown.
CREATE VIEW v_hash AS
WITH RECURSIVE item(database, key, packed, number, field_at, field_bytes, at, bytes) AS (
    SELECT database, key, packed, 0, 0, 0, 2, 0 FROM live_collection WHERE kind = 5 AND id IS NULL
    UNION ALL
    SELECT database, key, packed, number + 1, at, bytes,
           at + bytes + instr(substr(packed, at + bytes, 11), x'3a'),
           CAST(substr(packed, at + bytes, 10) AS INTEGER)
    FROM item
    WHERE instr(substr(packed, at + bytes, 11), x'3a') > 1
)
SELECT database, key,
       CAST(substr(packed, field_at, field_bytes) AS TEXT) AS field,
       CAST(substr(packed, at, bytes) AS TEXT) AS value
FROM item
WHERE number > 0 AND number % 2 = 0
UNION ALL
SELECT h.database, h.key,
       CASE WHEN f.field_bytes > 0 THEN CAST(substr(c.value, 1, f.field_bytes) AS TEXT) ELSE CAST(f.field AS TEXT) END,
       CASE WHEN f.apart IS NULL THEN CAST(f.value AS TEXT)
            ELSE CAST(substr(c.value, f.field_bytes + 1) AS TEXT)
                 || CASE WHEN f.field_bytes + f.value_bytes > length(c.value) THEN '...' ELSE '' END END
FROM live_collection AS h
JOIN hash_field AS f ON f.id = h.id
LEFT JOIN chunk AS c ON c.place = f.apart << 20
WHERE h.kind = 5;

-- Members of sets.
CREATE VIEW v_set AS
WITH RECURSIVE item(database, key, packed, number, at, bytes) AS (
    SELECT database, key, packed, 0, 2, 0 FROM live_collection WHERE kind = 3 AND id IS NULL
    UNION ALL
    SELECT database, key, packed, number + 1,
           at + bytes + instr(substr(packed, at + bytes, 11), x'3a'),
           CAST(substr(packed, at + bytes, 10) AS INTEGER)
    FROM item
    WHERE instr(substr(packed, at + bytes, 11), x'3a') > 1
)
SELECT database, key, CAST(substr(packed, at, bytes) AS TEXT) AS member FROM item WHERE number > 0
UNION ALL
SELECT s.database, s.key,
       CASE WHEN m.apart IS NULL THEN CAST(m.member AS TEXT) ELSE CAST(substr(c.value, 1, m.member_bytes) AS TEXT) END
FROM live_collection AS s
JOIN set_member AS m ON m.id = s.id
LEFT JOIN chunk AS c ON c.place = m.apart << 20
WHERE s.kind = 3;

-- Sorted sets.
--
--   keyspace ──id──> sorted_member     (scores by member; small sets lie in keyspace.value)
--                  > sorted_order      (members by score)
--                  > count_block, count_sum    (how many rows lie where: for ranks)
--                       └──apart──> chunk      (long members)
--
-- keyspace.value of a sorted set: a letter for OBJECT ENCODING (l listpack, s skiplist); where keyspace.id is NULL, its members follow
-- by score: each item is its length in decimal digits, a colon and its bytes; members and scores take turns.

-- position       a keyed hash of the member, the same as in set_member
-- member         of more than 256 bytes: the first 241 and a keyed 128-bit digest of all
-- score          as it was given, -0 too (with a type, the column would lose that)
-- label          of a long member: what follows its beginning in sorted_order
-- apart          NULL, or the chunks' id where a long member lies, of so many bytes
CREATE TABLE sorted_member (
    id           INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    member       BLOB NOT NULL,
    score        NOT NULL,
    label        INTEGER,
    apart        INTEGER,
    member_bytes INTEGER,
    PRIMARY KEY (id, position, member)
) WITHOUT ROWID;

-- score          0 where it is -0, so that both are equal
-- member         of more than 256 bytes: the first 256, and 8 that give those with the same beginning their order
-- is_minus_zero  1 where the score is -0, else NULL
CREATE TABLE sorted_order (
    id            INTEGER NOT NULL,
    score         REAL NOT NULL,
    member        BLOB NOT NULL,
    is_minus_zero INTEGER,
    apart         INTEGER,
    member_bytes  INTEGER,
    PRIMARY KEY (id, score, member)
) WITHOUT ROWID;

-- Counts of an ordered collection's rows, about 128 each, and of about 128 such counts together. A count is of the rows from its place
-- up to the place of the next.
-- first, tail    the place; of a sorted set the score as a number in the order of scores, and the member
CREATE TABLE count_block (
    id      INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    tail    BLOB NOT NULL,
    members INTEGER NOT NULL,
    PRIMARY KEY (id, first, tail)
) WITHOUT ROWID;

CREATE TABLE count_sum (
    id      INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    tail    BLOB NOT NULL,
    members INTEGER NOT NULL,
    blocks  INTEGER NOT NULL,
    PRIMARY KEY (id, first, tail)
) WITHOUT ROWID;

-- ---- views for people -------------------------------------------------------------------------------------------

DROP VIEW live_key;
CREATE VIEW live_key AS
SELECT d.number AS database,
       CAST(k.key AS TEXT) AS key,
       CASE k.kind WHEN 1 THEN 'string' WHEN 2 THEN 'list' WHEN 3 THEN 'set' WHEN 4 THEN 'zset' WHEN 5 THEN 'hash' END AS type,
       datetime(k.expires_at_ms / 1000, 'unixepoch') AS expires_at,
       k.length AS length,
       CASE WHEN k.kind = 2 THEN 'see v_list'
            WHEN k.kind = 3 THEN 'see v_set'
            WHEN k.kind = 4 THEN 'see v_zset'
            WHEN k.kind = 5 THEN 'see v_hash'
            WHEN k.id IS NULL THEN CAST(k.value AS TEXT)
            ELSE (SELECT CAST(c.value AS TEXT) FROM chunk AS c WHERE c.place = k.id << 20) || '...' END AS value
FROM database AS d
JOIN keyspace AS k ON k.slot BETWEEN d.space << 48 AND (d.space << 48) + 281474976710655
WHERE k.expires_at_ms IS NULL OR k.expires_at_ms > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER);

-- Members of sorted sets with their scores, those of one set by score. A step takes the next item of what is packed, as in v_hash.
-- Of a member that lies apart the first chunk is shown.
CREATE VIEW v_zset AS
WITH RECURSIVE item(database, key, packed, number, member_at, member_bytes, at, bytes) AS (
    SELECT database, key, packed, 0, 0, 0, 2, 0 FROM live_collection WHERE kind = 4 AND id IS NULL
    UNION ALL
    SELECT database, key, packed, number + 1, at, bytes,
           at + bytes + instr(substr(packed, at + bytes, 11), x'3a'),
           CAST(substr(packed, at + bytes, 10) AS INTEGER)
    FROM item
    WHERE instr(substr(packed, at + bytes, 11), x'3a') > 1
)
SELECT database, key,
       CASE CAST(substr(packed, at, bytes) AS TEXT) WHEN 'inf' THEN 9e999 WHEN '-inf' THEN -9e999
            ELSE CAST(CAST(substr(packed, at, bytes) AS TEXT) AS REAL) END AS score,
       CAST(substr(packed, member_at, member_bytes) AS TEXT) AS member
FROM item
WHERE number > 0 AND number % 2 = 0
UNION ALL
SELECT z.database, z.key, o.score,
       CASE WHEN o.apart IS NULL THEN CAST(o.member AS TEXT) ELSE CAST(substr(c.value, 1, o.member_bytes) AS TEXT) END
FROM live_collection AS z
JOIN sorted_order AS o ON o.id = z.id
LEFT JOIN chunk AS c ON c.place = o.apart << 20
WHERE z.kind = 4;

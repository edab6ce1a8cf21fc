-- Lists.
--
--   keyspace ──id──> list_item                     (small ones lie in keyspace.value)
--               │       └──apart──> chunk          (long items)
--               └──> list_count                    (of those with removals or insertions between their ends)
--
-- keyspace.value of a list: a letter for OBJECT ENCODING (l listpack, q quicklist); where keyspace.id is NULL, the items follow: each is
-- its length in decimal digits, a colon and its bytes. Else the positions of the first and the last item follow, with a space between,
-- and, each behind a space and a letter: b what the items would take in a listpack; f, t how far before the first and behind the last
-- item rows of removed ones may be left; c where positions alone do not tell which item is the how-manieth.

-- id             keyspace.id of the list
-- position       in the order of the list; multiples of 65,536, one after the other, but for what was inserted between two
-- apart          NULL, or the chunks' id where the item lies, of so many bytes
-- Rows beyond the ends that keyspace.value says are no items any more: the sweeper takes them.
CREATE TABLE list_item (
    id          INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    value       BLOB,
    apart       INTEGER,
    value_bytes INTEGER,
    PRIMARY KEY (id, position)
) WITHOUT ROWID;

-- block          position >> 23; from 1 << 62 on (1 << 62) + (position >> 31), the sum of 256 blocks
-- more           how many items more than multiples of 65,536 between the list's ends the block has
CREATE TABLE list_count (
    id    INTEGER NOT NULL,
    block INTEGER NOT NULL,
    more  INTEGER NOT NULL,
    PRIMARY KEY (id, block)
) WITHOUT ROWID;

-- what           also 'before' and 'behind': the items of list `number` before, or behind, `position`
ALTER TABLE orphan ADD COLUMN position INTEGER;

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
            WHEN k.kind = 5 THEN 'see v_hash'
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
UNION ALL SELECT 'trimmed list', count(*) FROM orphan WHERE what IN ('before', 'behind');

-- Items of lists, from index 0 on. Of what lies apart the first chunk is shown.
CREATE VIEW v_list AS
WITH RECURSIVE item(database, key, packed, number, at, bytes) AS (
    SELECT database, key, packed, 0, 2, 0 FROM live_collection WHERE kind = 2 AND id IS NULL
    UNION ALL
    SELECT database, key, packed, number + 1,
           at + bytes + instr(substr(packed, at + bytes, 11), x'3a'),
           CAST(substr(packed, at + bytes, 10) AS INTEGER)
    FROM item
    WHERE instr(substr(packed, at + bytes, 11), x'3a') > 1
)
SELECT database, key, number - 1 AS "index", CAST(substr(packed, at, bytes) AS TEXT) AS value FROM item WHERE number > 0
UNION ALL
SELECT l.database, l.key, row_number() OVER (PARTITION BY i.id ORDER BY i.position) - 1,
       CASE WHEN i.apart IS NULL THEN CAST(i.value AS TEXT)
            ELSE CAST(c.value AS TEXT) || CASE WHEN i.value_bytes > length(c.value) THEN '...' ELSE '' END END
FROM live_collection AS l
JOIN list_item AS i ON i.id = l.id
    AND i.position BETWEEN CAST(substr(l.packed, 2) AS INTEGER)
                       AND CAST(substr(l.packed, instr(l.packed, x'20') + 1) AS INTEGER)
LEFT JOIN chunk AS c ON c.place = i.apart << 20
WHERE l.kind = 2;

-- Version 2: the write path has a journal. Whatever the file holds, this is a few rows.

-- ---- groups that are committed and not yet in the tables --------------------------------------------------------
-- A group of changes is committed as bytes in `journal`, in sequence; its rows reach the tables above a little later, a
-- generation of groups at a time. So the tables are exact a second after the last write and after a stop; while writes go on they
-- are as old as EMPTYSERVER_MERGE_SECONDS_MAX allows, and while a generation is being merged one key of a transaction may be
-- there and another not yet. `SELECT * FROM waiting_for_merge` shows whether anything waits.
--
-- cell           (generation % 4) << 32 | number of the cell in that region; overwritten in place, so what stands in it may be old
-- bytes          32,768 bytes; the groups of a generation lie one after the other, see storage/journal/group.rs
CREATE TABLE journal (
    cell  INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
);

-- generation     it and all before it are in the tables as a whole
-- seq            the number of the last group in it
-- ahead          how many groups wrote rows into the tables that only the journal makes known
CREATE TABLE merged (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    generation INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    ahead      INTEGER NOT NULL
);
INSERT INTO merged VALUES (1, 0, 0, 0);

-- What waits for the merge: generations of groups. None: the tables show everything.
CREATE VIEW waiting_for_merge AS
SELECT count(*) AS generations
FROM merged JOIN journal ON cell & 4294967295 = 0 AND hex(substr(bytes, 17, 8)) > printf('%016X', generation);

-- ---- names of spaces --------------------------------------------------------------------------------------------
-- A space has a name that is never given twice, an id from the counter of values' ids, and a number in keyspace.slot that is used again.
ALTER TABLE database ADD COLUMN space_id INTEGER NOT NULL DEFAULT 0;
UPDATE database SET space_id = space;
-- Rows of a space that is given up may be written yet: they are told by its id.
ALTER TABLE orphan ADD COLUMN space_id INTEGER;
-- Numbers of spaces were their names before.
UPDATE meta SET value = max(value, 32768) WHERE name = 'next_id';

-- Rows of acknowledged changes that could not be written into their tables, and why: for whoever repairs the file. What their tables
-- have instead is older: whoever reads it gets an error. A later change that can be written takes the row away from here.
-- name           table, numbers and bytes of the row's key (rows/key.rs); row: NULL where it was deleted
CREATE TABLE left_out (
    generation INTEGER NOT NULL,
    name       BLOB NOT NULL UNIQUE,
    row        BLOB,
    reason     TEXT NOT NULL
);

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

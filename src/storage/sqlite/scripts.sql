-- Scripts that were loaded, and libraries of functions. What is in them was given by clients, and is run by the service alone.

-- ---- SCRIPT LOAD ------------------------------------------------------------------------------------------------
-- sha            SHA-1 of the source, 40 hexadecimal digits: the name by which EVALSHA asks for it
-- source         TEXT, or a BLOB where it is not UTF-8
CREATE TABLE script (
    sha    TEXT PRIMARY KEY,
    source NOT NULL
);

-- ---- FUNCTION LOAD ----------------------------------------------------------------------------------------------
-- code           with its first line, which names engine and library: TEXT, or a BLOB where it is not UTF-8
CREATE TABLE library (
    name   TEXT PRIMARY KEY,
    engine TEXT NOT NULL,
    code   NOT NULL
);

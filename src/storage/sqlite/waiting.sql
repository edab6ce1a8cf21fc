-- Calls that wait.

-- ---- parked jobs of workers, by their numbers: as long as a new writer has to tell their worker -------------------
-- is_served      0: its worker may not have heard that it is parked; 1: it was served, and its worker may not have the answer
CREATE TABLE parked_ticket (
    number      INTEGER PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    is_served   INTEGER NOT NULL
);

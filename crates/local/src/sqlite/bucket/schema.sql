-- To read: SELECT key, value FROM entry;

CREATE TABLE entry (
    -- The place of the key in listings.
    id      INTEGER PRIMARY KEY,
    key     TEXT NOT NULL UNIQUE,
    -- From the counter below: two values never have the same version.
    version INTEGER NOT NULL,
    value   BLOB NOT NULL
) STRICT;

CREATE TABLE counter (version INTEGER NOT NULL) STRICT;

INSERT INTO counter VALUES (0);

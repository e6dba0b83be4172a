-- The ledger of --once. To read: SELECT hex(id), state, datetime(expires_ms / 1000, 'unixepoch') FROM entry;

CREATE TABLE entry (
    -- SHA-256 of the queue, the source and the text that tells messages apart.
    id         BLOB NOT NULL PRIMARY KEY,
    -- 0: claimed, 1: committing, 2: completed.
    state      INTEGER NOT NULL,
    -- End of the claim, time for the commit, or end of the window: milliseconds since 1970.
    expires_ms INTEGER NOT NULL,
    -- Token of the run; NULL once completed.
    run        BLOB,
    -- Digest of the message's ID; NULL once completed.
    message    BLOB,
    -- JSON: what the run has staged. Only while committing.
    outputs    BLOB
) STRICT, WITHOUT ROWID;

-- To remove what is over.
CREATE INDEX entry_expires ON entry (expires_ms);
CREATE INDEX entry_run ON entry (run) WHERE run IS NOT NULL;

-- Tells this ledger from all others: names of staged objects begin with it.
CREATE TABLE ledger (id INTEGER NOT NULL) STRICT;

INSERT INTO ledger VALUES (random());

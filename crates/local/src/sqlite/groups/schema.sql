-- To read: SELECT key, name, ended, messages, sent FROM completion;

CREATE TABLE completion (
    id         INTEGER PRIMARY KEY,
    key        TEXT NOT NULL,
    name       TEXT NOT NULL,
    -- Number of the group's messages, and of those that have ended.
    messages   INTEGER NOT NULL,
    ended      INTEGER NOT NULL DEFAULT 0,
    began_ms   INTEGER NOT NULL,
    counted_ms INTEGER NOT NULL,
    -- Whether the notification was sent. The group then has no members.
    sent       INTEGER NOT NULL DEFAULT 0,
    UNIQUE (key, name)
) STRICT;

CREATE INDEX completion_oldest ON completion (began_ms);
-- The first to be dropped when there are too many entries: those that were sent, then those of the largest key.
CREATE INDEX completion_first ON completion (sent, began_ms);
CREATE INDEX completion_of_key ON completion (key, began_ms);
CREATE INDEX completion_unsent ON completion (counted_ms) WHERE sent = 0 AND ended = messages;

-- Messages that have ended.
CREATE TABLE member (
    completion INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    how        TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    PRIMARY KEY (completion, message_id)
) STRICT, WITHOUT ROWID;

-- Number of rows in both tables by key.
CREATE TABLE share (
    key     TEXT PRIMARY KEY,
    entries INTEGER NOT NULL
) STRICT;

CREATE INDEX share_largest ON share (entries);

-- Number of rows in both tables.
CREATE TABLE total (entries INTEGER NOT NULL) STRICT;

INSERT INTO total VALUES (0);

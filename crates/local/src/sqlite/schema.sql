-- Times are milliseconds since 1970. To read: SELECT * FROM queue_depth; SELECT * FROM messages;

CREATE TABLE queue (
    id                    INTEGER PRIMARY KEY,
    name                  TEXT NOT NULL UNIQUE,
    visibility_timeout_ms INTEGER NOT NULL,
    -- '#NAME' is a queue in this file, otherwise it is a URL.
    dead_letter           TEXT,
    max_receives          INTEGER,
    fifo                  INTEGER NOT NULL,
    created_ms            INTEGER NOT NULL,
    CHECK ((dead_letter IS NULL) = (max_receives IS NULL))
) STRICT;

-- What changes with each delivery; small, so that a delivery writes little whatever the body's size.
CREATE TABLE message (
    -- The order of arrival. Never used again, so that an old receipt can't fit a new message.
    sequence          INTEGER PRIMARY KEY AUTOINCREMENT,
    queue             INTEGER NOT NULL REFERENCES queue (id),
    id                TEXT NOT NULL,
    message_group     TEXT,
    -- FIFO queues: an earlier message of the group is still there.
    blocked           INTEGER NOT NULL,
    visible_ms        INTEGER NOT NULL,
    receive_count     INTEGER NOT NULL DEFAULT 0,
    -- Of the latest delivery; none: not in flight.
    receipt           TEXT,
    sent_ms           INTEGER NOT NULL,
    first_received_ms INTEGER,
    last_received_ms  INTEGER,
    -- In a dead-letter queue: where it came from, written as queue.dead_letter.
    source            TEXT
) STRICT;

-- A receive reads this from its start: the first entry is the next message.
CREATE INDEX message_next ON message (queue, blocked, visible_ms);
CREATE INDEX message_in_group ON message (queue, message_group) WHERE message_group IS NOT NULL;

CREATE TABLE content (
    sequence   INTEGER PRIMARY KEY,
    body       TEXT NOT NULL,
    -- JSON: [{"name": …, "text": …}, {"name": …, "hex": …}]
    attributes TEXT NOT NULL
) STRICT;

CREATE TRIGGER message_takes_content_along AFTER DELETE ON message BEGIN
    DELETE FROM content WHERE sequence = OLD.sequence;
END;

-- Here rather than in code, so that the order also holds for messages deleted by hand or by a killed process.
CREATE TRIGGER message_unblocks_group AFTER DELETE ON message
WHEN OLD.message_group IS NOT NULL AND OLD.blocked = 0 BEGIN
    UPDATE message SET blocked = 0 WHERE blocked = 1 AND sequence = (
        SELECT min(sequence) FROM message WHERE queue = OLD.queue AND message_group = OLD.message_group
    );
END;

-- What FIFO queues accepted in the last five minutes.
CREATE TABLE deduplication (
    queue      INTEGER NOT NULL REFERENCES queue (id),
    id         TEXT NOT NULL,
    message_id TEXT NOT NULL,
    sent_ms    INTEGER NOT NULL,
    PRIMARY KEY (queue, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX deduplication_oldest ON deduplication (sent_ms);

-- The latest time that any process saw, to notice that the system's clock was set back.
CREATE TABLE clock (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    seen_ms INTEGER NOT NULL
) STRICT;
INSERT INTO clock (id, seen_ms) VALUES (1, 0);

CREATE VIEW messages AS
SELECT queue.name AS queue, message.sequence, message.id,
    CASE
        WHEN message.visible_ms > CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
            THEN CASE WHEN message.receipt IS NULL THEN 'delayed' ELSE 'in flight' END
        WHEN message.blocked THEN 'behind its group'
        ELSE 'visible'
    END AS state,
    message.receive_count, message.message_group,
    datetime(message.sent_ms / 1000, 'unixepoch') AS sent,
    datetime(message.visible_ms / 1000, 'unixepoch') AS visible,
    message.source, content.body, content.attributes
FROM message JOIN queue ON queue.id = message.queue JOIN content USING (sequence)
ORDER BY message.sequence;

CREATE VIEW queue_depth AS
SELECT queue.name AS queue,
    count(*) FILTER (WHERE messages.state IN ('visible', 'behind its group')) AS visible,
    count(*) FILTER (WHERE messages.state = 'in flight') AS in_flight,
    count(*) FILTER (WHERE messages.state = 'delayed') AS delayed
FROM queue LEFT JOIN messages ON messages.queue = queue.name
GROUP BY queue.name;

-- To read: SELECT key, unit, used, datetime(began, 'unixepoch') FROM account ORDER BY used DESC;

CREATE TABLE account (
    key   TEXT NOT NULL,
    unit  TEXT NOT NULL,
    -- The period in seconds since 1970, and its length in seconds.
    began INTEGER NOT NULL,
    lasts INTEGER NOT NULL,
    -- Fuel; microseconds of CPU time; or a millionth of a millionth of the currency.
    used  INTEGER NOT NULL,
    PRIMARY KEY (key, unit, began, lasts)
) STRICT, WITHOUT ROWID;

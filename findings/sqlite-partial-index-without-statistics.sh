#!/usr/bin/env bash
# SQLite 3.54.1 (apsw 3.54.1.0): a partial index whose condition stands word for word in the query isn't preferred, however few
# rows it has, until ANALYZE has counted them. Of two usable indexes, the planner took the one on all rows, although the query's
# other condition holds for all of them.
#
# A queue of work in a table often has such an index on the few rows that are under way (`WHERE run IS NOT NULL`). The query then
# gives the right rows and reads the whole table, which shows only once the table is large. What chooses the partial index: ANALYZE,
# or INDEXED BY. Without statistics the planner takes a range on `expires` and `IS NOT NULL` for equally good.
#
# Seen: as created: by_expires
#       INDEXED BY: by_run
#       after ANALYZE: by_run
#       rows by each plan: 5 5 5
#
# Needs Python 3.9 or newer and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --target packages apsw==3.54.1.0
cat > finding.py <<'PYTHON'
import apsw

db = apsw.Connection(":memory:")
db.execute("""
CREATE TABLE entry (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, expires INTEGER NOT NULL, run BLOB);
CREATE INDEX by_expires ON entry (expires);
CREATE INDEX by_run ON entry (run) WHERE run IS NOT NULL;
""")
with db:
    done = ((number, 2, number, None) for number in range(100_000))
    running = ((100_000 + number, 1, number, b"run") for number in range(5))
    for rows in (done, running):
        db.executemany("INSERT INTO entry VALUES (?, ?, ?, ?)", rows)

FROM = "SELECT id FROM entry {} WHERE run IS NOT NULL AND state = 1 AND expires <= 1000000 ORDER BY expires LIMIT 8"


def plan(hint=""):
    detail = next(db.execute("EXPLAIN QUERY PLAN " + FROM.format(hint)))[3]
    return detail.split("USING INDEX ")[1].split()[0]


def rows(hint=""):
    return len(list(db.execute(FROM.format(hint))))


hint = "INDEXED BY by_run"
counts = [rows(), rows(hint)]
print("as created:", plan())
print("INDEXED BY:", plan(hint))
db.execute("ANALYZE")
print("after ANALYZE:", plan())
print("rows by each plan:", *counts, rows())
PYTHON
PYTHONPATH=packages python3 finding.py | tee seen

diff seen - <<'SEEN'
as created: by_expires
INDEXED BY: by_run
after ANALYZE: by_run
rows by each plan: 5 5 5
SEEN

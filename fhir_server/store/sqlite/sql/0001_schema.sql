-- The first schema. `seq` numbers every version in the order of writes; index rows are keyed by the seq
-- of the current version, so each list comes newest first by itself. `k` is the term of a tenant's
-- resource type, `t` a term (see terms.py), `c` a keyed 64-bit hash of a text.

CREATE TABLE tenant (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- Small numbers that only grow: the clock, epochs, the heads of sequences; and the signed head of the audit
-- chain. Tenant 0 is the store itself.
CREATE TABLE counter (
    tenant INTEGER NOT NULL,
    name TEXT NOT NULL,
    n ANY NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What index rows are about: a type, a set of search parameters, a kind of value, a system. Never deleted.
CREATE TABLE term (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    type TEXT NOT NULL,
    kind TEXT NOT NULL,
    params TEXT NOT NULL,
    system TEXT NOT NULL,
    UNIQUE (tenant, type, kind, params, system)
) STRICT;

-- How many current resources and how many versions a type has.
CREATE TABLE tally (
    k INTEGER PRIMARY KEY,
    current INTEGER NOT NULL,
    versions INTEGER NOT NULL
) STRICT;

-- Every version. `format` says how the body is written: 0 as it is.
CREATE TABLE version (
    seq INTEGER PRIMARY KEY,
    k INTEGER NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    method INTEGER NOT NULL,
    format INTEGER NOT NULL,
    owners TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- Which version of a resource is current.
CREATE TABLE resource (
    k INTEGER NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (k, id)
) STRICT, WITHOUT ROWID;

-- The versions before the current one.
CREATE TABLE superseded (
    k INTEGER NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (k, id, version)
) STRICT, WITHOUT ROWID;

-- Of each current resource: hash of its id, its one owner (0 none, 1 several), its set of parameters.
CREATE TABLE head (
    seq INTEGER PRIMARY KEY,
    k INTEGER NOT NULL,
    idh INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    shape INTEGER NOT NULL
) STRICT;

-- Equality: tokens, references, uris, exact strings, and the lists of types, shapes and past versions.
CREATE TABLE token (
    t INTEGER NOT NULL,
    c INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (t, c, seq)
) STRICT, WITHOUT ROWID;

-- Order: dates, numbers, quantities and folded strings by value. `w` is the width of a date (its end, where
-- it is of the open class), the upper end of a number that is a range, else 0 (see rows.py).
CREATE TABLE span (
    t INTEGER NOT NULL,
    lo ANY NOT NULL,
    seq INTEGER NOT NULL,
    w ANY NOT NULL,
    PRIMARY KEY (t, lo, seq, w)
) STRICT, WITHOUT ROWID;

-- The same values by resource, and the ids that its local references name.
CREATE TABLE fact (
    seq INTEGER NOT NULL,
    t INTEGER NOT NULL,
    lo ANY NOT NULL,
    w ANY NOT NULL,
    PRIMARY KEY (seq, t, lo, w)
) STRICT, WITHOUT ROWID;

-- patient (p), code (c) and date (lo) of the types that a chart shows by time.
CREATE TABLE timeline (
    t INTEGER NOT NULL,
    p INTEGER NOT NULL,
    c INTEGER NOT NULL,
    lo INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (t, p, c, lo, seq)
) STRICT, WITHOUT ROWID;

-- The different texts and uris behind some hashes.
CREATE TABLE text (
    t INTEGER NOT NULL,
    text TEXT NOT NULL,
    c INTEGER NOT NULL,
    PRIMARY KEY (t, text)
) STRICT, WITHOUT ROWID;

CREATE TABLE record (
    seq INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    lane TEXT NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (tenant, kind, key)
) STRICT;
CREATE INDEX record_kind ON record (tenant, kind, seq);
CREATE INDEX record_state ON record (tenant, kind, state, seq);
CREATE INDEX record_lane ON record (tenant, kind, lane, state, seq) WHERE lane <> '';

-- The audit chain: `hash` covers the hash before and `body`.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    body TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;

-- Whose record each row tells of, for the rows up to the counter `audit-patients`.
CREATE TABLE audit_patient (
    tenant INTEGER NOT NULL,
    patient TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (tenant, patient, seq)
) STRICT, WITHOUT ROWID;

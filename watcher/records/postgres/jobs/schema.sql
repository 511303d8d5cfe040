-- The jobs of engines that share them. This is the newest schema; migrations/ lead older ones to it. It is run in a schema of its own,
-- which is in the search path. Leases are judged by the server's clock; all other times are Unix seconds of whoever writes them.

-- One row. `version` of this schema, and the `least` one that a release must know to work with it.
CREATE TABLE journal (
    version INTEGER NOT NULL,
    least INTEGER NOT NULL
);

-- The engines that are up. Each holds what it took under its `number` for as long as it is alive; who finds its lease ended lets go of
-- what it holds and deletes it, and a number never comes back. `instance` tells one state folder from another, `batch` the last
-- transaction that went through.
CREATE TABLE engines (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    instance TEXT NOT NULL,
    joined_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    alive_until TIMESTAMPTZ NOT NULL,
    batch BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

-- `engine` has the job in hand, `calling` its webhook. That they are in `engines` holds off whoever would delete one of those in the
-- same moment. `request` is forgotten with the job's end: it may hold secrets.
CREATE TABLE jobs (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('enqueued', 'processing', 'completed', 'failed')),
    request TEXT,
    base_url TEXT NOT NULL,
    answer TEXT,
    starts INTEGER NOT NULL DEFAULT 0 CHECK (starts >= 0),
    changed_at DOUBLE PRECISION NOT NULL,
    engine BIGINT REFERENCES engines (number),
    webhook TEXT,
    webhook_tries INTEGER NOT NULL DEFAULT 0,
    webhook_due DOUBLE PRECISION,
    calling BIGINT REFERENCES engines (number),
    CHECK ((status = 'processing') = (engine IS NOT NULL)),
    CHECK ((status IN ('completed', 'failed')) = (answer IS NOT NULL)),
    CHECK (webhook_due IS NULL OR webhook IS NOT NULL),
    CHECK (calling IS NULL OR webhook_due IS NOT NULL)
) WITH (fillfactor = 70);

CREATE INDEX jobs_enqueued ON jobs (number) WHERE status = 'enqueued';
CREATE INDEX jobs_in_hand ON jobs (engine) WHERE engine IS NOT NULL;
CREATE INDEX jobs_due ON jobs (webhook_due, number) WHERE webhook_due IS NOT NULL AND calling IS NULL;
CREATE INDEX jobs_calling ON jobs (calling) WHERE calling IS NOT NULL;
CREATE INDEX jobs_ended ON jobs (changed_at) WHERE status IN ('completed', 'failed');

-- Outputs that were not asked to be stored, in parts from 0 on, until `epoch`.
CREATE TABLE files (
    epoch BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    part INTEGER NOT NULL CHECK (part >= 0),
    content BYTEA NOT NULL,
    PRIMARY KEY (epoch, name, part)
);
ALTER TABLE files ALTER COLUMN content SET STORAGE EXTERNAL;

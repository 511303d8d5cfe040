-- The journal: what is remembered of files, images and their outputs. This is the newest schema; migrations/ lead older ones to it.
--
-- Paths and file names are BLOBs: the bytes that the file system keeps. Times are Unix seconds. `rendition` NULL is the
-- folder's own output. Inodes are kept as signed 64-bit numbers.

-- Snapshots of rules, named by their content.
CREATE TABLE rules (
    digest TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL CHECK (json_valid(body))
) STRICT, WITHOUT ROWID;

-- One row for each taken version of a file. `number` is the order of taking.
CREATE TABLE images (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    folder TEXT NOT NULL,
    relative BLOB NOT NULL,
    rule TEXT NOT NULL REFERENCES rules (digest),
    -- 1: nothing is ever to be done with the original
    keeps_original INTEGER NOT NULL DEFAULT 0 CHECK (keeps_original IN (0, 1)),
    size INTEGER NOT NULL CHECK (size >= 0),
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    detected_at REAL NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'ended', 'finished')),
    newest INTEGER NOT NULL DEFAULT 1 CHECK (newest IN (0, 1)),
    -- what the open descriptor said
    name BLOB,
    sha1 TEXT,
    bytes INTEGER,
    format TEXT,
    width INTEGER,
    height INTEGER,
    no_formal_end INTEGER NOT NULL DEFAULT 0 CHECK (no_formal_end IN (0, 1)),
    -- the temporary URL
    token TEXT,
    secret TEXT,
    expires_at REAL,
    -- ended: when to move or delete the original; finished: since when
    due_at REAL,
    finished_at REAL,
    -- how it ended as a whole: failed where any output did, else stored where any was, and so on in the order of the words
    outcome TEXT CHECK (outcome IN ('failed', 'stored', 'unchanged', 'vanished', 'superseded')),
    ended_at REAL,
    -- when somebody said that this failure needs nothing more
    dismissed_at REAL CHECK (dismissed_at IS NULL OR outcome = 'failed'),
    CHECK ((state = 'open') = (outcome IS NULL) AND (outcome IS NULL) = (ended_at IS NULL)),
    CHECK ((name IS NULL) = (sha1 IS NULL) AND (name IS NULL) = (bytes IS NULL) AND (name IS NULL) = (format IS NULL)),
    CHECK ((token IS NULL) = (secret IS NULL) AND (token IS NULL) = (expires_at IS NULL)),
    CHECK ((state = 'ended') = (due_at IS NOT NULL)),
    CHECK ((state = 'finished') = (finished_at IS NOT NULL))
) STRICT;

-- A path has one newest image, whatever happened to the others.
CREATE UNIQUE INDEX images_newest ON images (folder, relative) WHERE newest = 1;
CREATE INDEX images_path ON images (relative, folder);
CREATE INDEX images_ended ON images (due_at, number) WHERE state = 'ended';
CREATE INDEX images_finished ON images (finished_at) WHERE state = 'finished';
-- for people: what waits, what ended lately, what has failed and is not settled
CREATE INDEX images_open ON images (detected_at) WHERE state = 'open';
CREATE INDEX images_of_late ON images (ended_at, outcome) WHERE outcome IS NOT NULL;
CREATE INDEX images_failed ON images (number, folder) WHERE outcome = 'failed' AND newest = 1 AND dismissed_at IS NULL;

-- One row for each output of an image, in the order of the rule.
CREATE TABLE outputs (
    image INTEGER NOT NULL REFERENCES images (number) ON DELETE CASCADE,
    position INTEGER NOT NULL CHECK (position >= 0),
    rendition TEXT,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (
        state IN ('waiting', 'requested', 'enqueued', 'stored', 'failed', 'superseded', 'vanished', 'unchanged')
    ),
    key TEXT,
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
    doubt INTEGER NOT NULL DEFAULT 0 CHECK (doubt IN (0, 1)),
    job_id TEXT,
    due_at REAL NOT NULL,
    -- 1: goes behind what was dropped while the daemon runs
    backlog INTEGER NOT NULL DEFAULT 0 CHECK (backlog IN (0, 1)),
    -- why it failed
    reason TEXT,
    PRIMARY KEY (image, position),
    -- nothing is asked for, or stored, without a place for it
    CHECK (key IS NOT NULL OR state NOT IN ('requested', 'enqueued', 'stored')),
    CHECK ((state = 'enqueued') = (job_id IS NOT NULL)),
    -- doubt is about a request that was sent, and is settled before the next one and by any ending
    CHECK (doubt = 0 OR (state = 'waiting' AND key IS NOT NULL)),
    CHECK ((state = 'failed') = (reason IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- NULL and '' are two renditions, and NULL is one as well.
CREATE UNIQUE INDEX outputs_rendition ON outputs (image, rendition IS NULL, ifnull(rendition, ''));
CREATE INDEX outputs_due ON outputs (backlog, due_at, image) WHERE state IN ('waiting', 'enqueued');
CREATE INDEX outputs_in_flight ON outputs (image) WHERE state IN ('requested', 'enqueued');
CREATE INDEX outputs_failed ON outputs (image) WHERE state = 'failed';

-- An image with an open output is open, and the other way round: the rows of an image end together with it.
CREATE TRIGGER images_end BEFORE UPDATE OF state ON images
WHEN
    old.state = 'open' AND new.state <> 'open'
    AND EXISTS (SELECT 1 FROM outputs WHERE image = new.number AND state IN ('waiting', 'requested', 'enqueued'))
BEGIN
    SELECT raise(ABORT, 'an image with open outputs cannot end');
END;

CREATE TRIGGER images_stay_ended BEFORE UPDATE OF state ON images
WHEN (old.state <> 'open' AND new.state = 'open') OR (old.state = 'finished' AND new.state <> 'finished')
BEGIN
    SELECT raise(ABORT, 'an image that has ended stays so');
END;

CREATE TRIGGER outputs_stay_ended BEFORE UPDATE OF state ON outputs
WHEN old.state NOT IN ('waiting', 'requested', 'enqueued')
BEGIN
    SELECT raise(ABORT, 'an output ends once');
END;

-- The endings, one line of the audit file each, in this order. `prev` is what the line says there, once it is written.
CREATE TABLE endings (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    image_id TEXT NOT NULL,
    rendition TEXT,
    at REAL NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('image.stored', 'image.failed', 'image.superseded', 'image.vanished')),
    record TEXT NOT NULL CHECK (json_valid(record)),
    prev TEXT
) STRICT;

CREATE UNIQUE INDEX endings_once ON endings (image_id, rendition IS NULL, ifnull(rendition, ''));
CREATE INDEX endings_at ON endings (at, event);
CREATE INDEX endings_failed ON endings (seq) WHERE event = 'image.failed';

-- What an image went through, for people.
CREATE TABLE history (
    number INTEGER PRIMARY KEY,
    image INTEGER NOT NULL REFERENCES images (number) ON DELETE CASCADE,
    at REAL NOT NULL,
    event TEXT NOT NULL,
    rendition TEXT,
    detail TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(detail))
) STRICT;

CREATE INDEX history_image ON history (image);

-- What we put at which key: out of which file and content, under which rule. `published` says it to people and programs (url,
-- link, sizes, when) for as long as the object is known; `kept` is 1 where the original was to stay in its folder, `newest` where
-- no later object came out of the same file for the same output.
CREATE TABLE objects (
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    folder TEXT NOT NULL,
    relative BLOB NOT NULL,
    sha1 TEXT NOT NULL,
    rule TEXT,
    output_sha1 TEXT,
    at REAL NOT NULL,
    rendition TEXT,
    published TEXT CHECK (published IS NULL OR json_valid(published)),
    kept INTEGER NOT NULL DEFAULT 1 CHECK (kept IN (0, 1)),
    newest INTEGER NOT NULL DEFAULT 1 CHECK (newest IN (0, 1)),
    PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX objects_file ON objects (folder, relative);
CREATE INDEX objects_at ON objects (at);
CREATE INDEX objects_output ON objects (folder, output_sha1) WHERE output_sha1 IS NOT NULL;

-- What scans compare with: the version of each present file that was judged.
CREATE TABLE files (
    folder TEXT NOT NULL,
    directory BLOB NOT NULL,
    name BLOB NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    ignored TEXT,
    message TEXT,
    PRIMARY KEY (folder, directory, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX files_ignored ON files (folder, directory, name) WHERE ignored IS NOT NULL;

-- Files that are not whole and have been waited for a while. A daemon that starts begins with none.
CREATE TABLE waiting (
    folder TEXT NOT NULL,
    relative BLOB NOT NULL,
    size INTEGER NOT NULL,
    since REAL NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (folder, relative)
) STRICT, WITHOUT ROWID;

-- How far each follower of the endings has come: `seq` is the last ending that it has dealt with. 'audit' is the audit file,
-- and `hash` that of its last line; 'log' is the log; 'notify.NAME' is a receiver of notifications. The row 'audit' is there once a new journal has learnt what the file holds.
CREATE TABLE cursors (
    name TEXT NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL DEFAULT 0 CHECK (seq >= 0),
    hash TEXT
) STRICT, WITHOUT ROWID;

-- Folders whose images wait until somebody resumes them; '' stands for all.
CREATE TABLE pauses (
    folder TEXT NOT NULL PRIMARY KEY,
    at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- How many images and outputs stand where, kept by the triggers below: a status over a million images costs nothing.
CREATE TABLE tallies (
    kind TEXT NOT NULL CHECK (kind IN ('image', 'output')),
    state TEXT NOT NULL,
    count INTEGER NOT NULL DEFAULT 0 CHECK (count >= 0),
    PRIMARY KEY (kind, state)
) STRICT, WITHOUT ROWID;

INSERT INTO tallies (kind, state) VALUES
    ('image', 'open'), ('image', 'ended'), ('image', 'finished'),
    ('output', 'waiting'), ('output', 'requested'), ('output', 'enqueued'), ('output', 'stored'),
    ('output', 'failed'), ('output', 'superseded'), ('output', 'vanished'), ('output', 'unchanged');

CREATE TRIGGER images_counted_in AFTER INSERT ON images BEGIN
    UPDATE tallies SET count = count + 1 WHERE kind = 'image' AND state = new.state;
END;

CREATE TRIGGER images_counted_out AFTER DELETE ON images BEGIN
    UPDATE tallies SET count = count - 1 WHERE kind = 'image' AND state = old.state;
END;

CREATE TRIGGER images_counted_on AFTER UPDATE OF state ON images WHEN old.state <> new.state BEGIN
    UPDATE tallies SET count = count - 1 WHERE kind = 'image' AND state = old.state;
    UPDATE tallies SET count = count + 1 WHERE kind = 'image' AND state = new.state;
END;

CREATE TRIGGER outputs_counted_in AFTER INSERT ON outputs BEGIN
    UPDATE tallies SET count = count + 1 WHERE kind = 'output' AND state = new.state;
END;

CREATE TRIGGER outputs_counted_out AFTER DELETE ON outputs BEGIN
    UPDATE tallies SET count = count - 1 WHERE kind = 'output' AND state = old.state;
END;

CREATE TRIGGER outputs_counted_on AFTER UPDATE OF state ON outputs WHEN old.state <> new.state BEGIN
    UPDATE tallies SET count = count - 1 WHERE kind = 'output' AND state = old.state;
    UPDATE tallies SET count = count + 1 WHERE kind = 'output' AND state = new.state;
END;

-- The same of images by folder: how many are open, and how the others ended.
CREATE TABLE folder_tallies (
    folder TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('open', 'failed', 'stored', 'unchanged', 'vanished', 'superseded')),
    count INTEGER NOT NULL CHECK (count >= 0),
    PRIMARY KEY (folder, outcome)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER images_of_folder_in AFTER INSERT ON images BEGIN
    INSERT INTO folder_tallies VALUES (new.folder, ifnull(new.outcome, 'open'), 1)
    ON CONFLICT (folder, outcome) DO UPDATE SET count = count + 1;
END;

CREATE TRIGGER images_of_folder_out AFTER DELETE ON images BEGIN
    UPDATE folder_tallies SET count = count - 1 WHERE folder = old.folder AND outcome = ifnull(old.outcome, 'open');
END;

CREATE TRIGGER images_of_folder_on AFTER UPDATE OF outcome ON images WHEN old.outcome IS NOT new.outcome BEGIN
    UPDATE folder_tallies SET count = count - 1 WHERE folder = old.folder AND outcome = ifnull(old.outcome, 'open');
    INSERT INTO folder_tallies VALUES (new.folder, ifnull(new.outcome, 'open'), 1)
    ON CONFLICT (folder, outcome) DO UPDATE SET count = count + 1;
END;

-- What was done in each hour (Unix seconds / 3600), for plots: images that ended, bytes of what was stored.
CREATE TABLE hours (
    hour INTEGER NOT NULL,
    folder TEXT NOT NULL,
    stored INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    bytes_in INTEGER NOT NULL DEFAULT 0,
    bytes_out INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, folder)
) STRICT, WITHOUT ROWID;

-- How long stored images took from drop to stored, by steps that figures.py defines: enough for percentiles.
CREATE TABLE durations (
    hour INTEGER NOT NULL,
    step INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (hour, step)
) STRICT, WITHOUT ROWID;

-- What each daemon says of itself whenever that changes: the way to the API, its folders. For commands beside it.
CREATE TABLE daemons (
    name TEXT NOT NULL PRIMARY KEY,
    at REAL NOT NULL,
    report TEXT NOT NULL CHECK (json_valid(report))
) STRICT, WITHOUT ROWID;

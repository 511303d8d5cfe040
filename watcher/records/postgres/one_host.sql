-- Views of this session that stand before the tables of the journal: whoever asks sees of the work what the host `here()` ended, has
-- in hand, or sees and could take. Hosts and pauses are everybody's.
CREATE TEMPORARY VIEW endings AS SELECT * FROM compressor_watcher.endings WHERE host = here();

CREATE TEMPORARY VIEW images AS SELECT * FROM compressor_watcher.images AS images
WHERE claimed_by = here()
   OR EXISTS (SELECT 1 FROM compressor_watcher.endings WHERE endings.image_id = images.id AND endings.host = here())
   OR (claimed_by IS NULL AND EXISTS (SELECT 1 FROM compressor_watcher.seen WHERE seen.image = images.number AND seen.host = here()));

CREATE TEMPORARY VIEW outputs AS SELECT * FROM compressor_watcher.outputs AS outputs
WHERE EXISTS (SELECT 1 FROM images WHERE images.number = outputs.image);

CREATE TEMPORARY VIEW history AS SELECT * FROM compressor_watcher.history AS history
WHERE EXISTS (SELECT 1 FROM images WHERE images.number = history.image);

CREATE TEMPORARY VIEW objects AS SELECT * FROM compressor_watcher.objects AS objects
WHERE EXISTS (
    SELECT 1 FROM compressor_watcher.endings WHERE endings.image_id = objects.published ->> 'id' AND endings.host = here()
);

CREATE TEMPORARY VIEW files AS SELECT * FROM compressor_watcher.files WHERE host = here();
CREATE TEMPORARY VIEW waiting AS SELECT * FROM compressor_watcher.waiting WHERE host = here();
CREATE TEMPORARY VIEW hours AS SELECT * FROM compressor_watcher.hours WHERE host = here();
CREATE TEMPORARY VIEW durations AS SELECT * FROM compressor_watcher.durations WHERE host = here();

-- The tables count for all hosts together: a file may be taken by one and ended by another.
CREATE TEMPORARY VIEW tallies AS
SELECT host, kind, state, 0 AS count FROM compressor_watcher.tallies WHERE host = ''
UNION ALL SELECT here(), 'image', state, count(*) FROM images GROUP BY state
UNION ALL SELECT here(), 'output', state, count(*) FROM outputs GROUP BY state;

CREATE TEMPORARY VIEW folder_tallies AS
SELECT here() AS host, folder, coalesce(outcome, 'open') AS outcome, count(*) AS count FROM images GROUP BY folder, outcome;

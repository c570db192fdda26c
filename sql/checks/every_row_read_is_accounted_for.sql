-- Every row read from a file was added, was known already, or was rejected with a reason.
-- asset: raw
select
  b.source_uri,     -- the file
  b.rows_read,      -- rows found in it
  b.rows_added,     -- rows that were new
  b.rows_known,     -- rows an earlier version had brought
  b.rows_rejected,  -- rows it says were rejected
  (select count(*) from raw.rejects as j where j.batch_id = b.batch_id) as rejects  -- rows in raw.rejects
from raw.batches as b
where b.rows_read <> b.rows_added + b.rows_known + b.rows_rejected
  or b.rows_rejected <> (select count(*) from raw.rejects as j where j.batch_id = b.batch_id)
  or b.rows_added + b.rows_known <> (select count(*) from raw.batch_records as m where m.batch_id = b.batch_id)

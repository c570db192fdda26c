-- One row per record and batch: which records a version of a file holds.
-- A record that the latest version of its file no longer holds is superseded (see cleaned).
-- incoming(batch_id, record_id): the records of some batches, new and known
select
  batch_id::varchar as batch_id,     -- the batch
  record_id::varchar as record_id    -- a record of it
from incoming

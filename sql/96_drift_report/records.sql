-- One row per new record: which new concept it is of, if any.
-- incoming(record_id, concept): what was found; from embeddings.vectors(record_id), raw.batches(ingested_at)
select
  record_id::varchar as record_id,      -- our id of the record
  concept::integer as concept           -- the new concept, as in drift_report.concepts; null where the old records cover it
from incoming

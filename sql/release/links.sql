-- One row per pair of records that say the same: near and exact duplicates, and duplicates by meaning.
select
  record_id,         -- our id of the duplicate
  matched_record_id  -- our id of the record it duplicates
from deduped.pairs
union all
select record_id, matched_record_id from curated_set.scores where matched_record_id is not null

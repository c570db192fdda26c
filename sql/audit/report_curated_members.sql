-- One row per record of the curated set as it is: what the other report_*.sql call members.
select
  record_id,               -- our id of the record
  null::varchar as split   -- none: it is not released
from curated_set.records

-- One row per record that cleaning drops.
-- superseded: a later version of the file no longer holds the record; empty_text: nothing is left after cleaning.
-- $when_file_changes: 'replace' (the latest version of a file stands) or 'keep_both'
-- incoming(record_id, text, steps): cleaned texts; from raw.records(text)
with latest as (
  select source, source_uri, max_by(batch_id, ingested_at) as batch_id from raw.batches group by all
),
superseded as (
  select r.record_id
  from raw.records as r
  join raw.batches as first_batch on first_batch.batch_id = r.batch_id
  join latest on latest.source = first_batch.source and latest.source_uri = first_batch.source_uri
  where $when_file_changes = 'replace'
    and not exists (
      select 1 from raw.batch_records as m where m.batch_id = latest.batch_id and m.record_id = r.record_id
    )
)
select
  record_id,                           -- our id of the record
  'drop' as verdict,                   -- always 'drop' here
  'superseded' as rule,                -- the rule
  null::double as value,               -- nothing is measured
  null::double as threshold,           -- nothing to hold it against
  null::varchar as matched_record_id   -- no other record
from superseded
union all
select record_id, 'drop', 'empty_text', 0, 1, null
from incoming
where text = '' and record_id not in (select record_id from superseded)

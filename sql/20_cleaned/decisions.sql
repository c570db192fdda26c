-- One row per record that cleaning drops.
-- superseded: a later version of the file no longer holds the record; empty_text: nothing is left after cleaning; pii_<type>: it has personal
-- data or a secret of a type whose records are to be dropped; same_after_cleaning: a preferred and a rejected answer differ no longer.
-- $when_file_changes: 'replace' (the latest version of a file stands) or 'keep_both'
-- incoming(record_id, text, label, steps, cleaned_original, dropped_for): cleaned records; from raw.records(text, original)
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
  null::double as value,               -- pii_<type>: how often it was found; empty_text: characters left
  null::double as threshold,           -- pii_<type>: the most that may be found, 0; empty_text: the fewest characters, 1
  null::varchar as matched_record_id   -- no other record
from superseded
union all
select record_id, 'drop', 'empty_text', 0, 1, null
from incoming
where text = '' and record_id not in (select record_id from superseded)
union all
select record_id, 'drop', found.rule, found.findings::double, if(found.findings is null, null, 0), null
from (select record_id, unnest(dropped_for) as found from incoming)
where record_id not in (select record_id from superseded)

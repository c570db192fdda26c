-- One row per record that only one of two releases holds, or that they hold in different splits, and why.
-- The reason is the decision that dropped it when the release that lacks it was made. Where the second is not given, it is the curated set.
-- $before: release_id of the first
-- $after: release_id of the second; null for the curated set as it is now
with times as (
  select
    (select max(released_at) from release.releases where release_id = $before) as before,
    coalesce((select max(released_at) from release.releases where release_id = $after), now()) as after
),
first_set as (
  select record_id, any_value(split) as split, any_value(text_hash) as text_hash from release.records where release_id = $before group by record_id
),
second_set as (
  select record_id, any_value(split) as split, any_value(text_hash) as text_hash from release.records where release_id = $after group by record_id
  union all
  select record_id, null, text_hash from curated_set.records where $after is null
),
changed as (
  select
    coalesce(f.record_id, s.record_id) as record_id,
    case when f.record_id is null then 'entered' when s.record_id is null then 'left' else 'moved' end as change,
    f.split as split_before,
    s.split as split_after,
    if(f.record_id is null, t.before, t.after) as asked_at
  from first_set as f
  full join second_set as s using (record_id)
  cross join times as t
  where f.record_id is null or s.record_id is null or f.split <> s.split
),
in_force as (
  select c.asked_at, u.stage, max_by(u.run_id, u.finished_at) as run_id
  from (select distinct asked_at from changed) as c
  join ledger.runs as u on u.finished_at <= c.asked_at
  group by c.asked_at, u.stage
),
reasons as (
  select
    c.record_id,
    min_by({'stage': d.stage, 'rule': d.rule, 'value': d.value, 'threshold': d.threshold, 'matched_record_id': d.matched_record_id},
      list_position(['cleaned', 'deduped', 'filtered', 'curated_set'], d.stage)) as reason
  from changed as c
  join in_force as r on r.asked_at = c.asked_at
  join ledger.decisions as d on d.record_id = c.record_id and d.stage = r.stage and d.run_id = r.run_id and d.verdict = 'drop'
  where c.change <> 'moved'
  group by c.record_id
)
select
  c.record_id,                                -- our id of the record; a tombstone's where it was erased
  c.change,                                   -- entered, left, or moved to another split
  raw.source,                                 -- its source
  raw.source_record_id,                       -- the owner's id
  raw.license,                                -- its licence
  c.split_before,                             -- its split in the first
  c.split_after,                              -- its split in the second
  case
    when c.change = 'moved' then null
    when starts_with(c.record_id, 'erased-') then 'erased'
    when x.reason is not null then x.reason.stage
    when c.change = 'entered' and b.ingested_at > c.asked_at then 'raw'
    else 'release'
  end as stage,                               -- the stage that kept it out: raw where it had not been read yet, release where no format could hold it
  case
    when c.change = 'moved' then null
    when starts_with(c.record_id, 'erased-') then 'erased'
    when x.reason is not null then x.reason.rule
    when c.change = 'entered' and b.ingested_at > c.asked_at then 'not_read_yet'
    else 'left_out'
  end as rule,                                -- the rule
  x.reason.value as value,                    -- what it measured
  x.reason.threshold as threshold,            -- what that was held against
  x.reason.matched_record_id as matched_record_id  -- the other record, if any
from changed as c
left join reasons as x using (record_id)
left join raw.records as raw using (record_id)
left join raw.batches as b on b.batch_id = raw.batch_id
order by c.change, stage, rule, c.record_id

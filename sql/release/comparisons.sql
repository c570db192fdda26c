-- One row per comparison of new records with old that bears on the curated set: the one in force when it was curated, and those that
-- found drift since the release before.
with curated as (
  select run_id, finished_at from ledger.runs where stage = 'curated_set' order by finished_at desc limit 1
),
last_release as (
  select max(finished_at) as finished_at from ledger.runs where stage = 'release' and (notes ->> 'is_new')::boolean
),
compared as (
  select
    r.run_id,
    r.finished_at,
    r.notes ->> 'since_what' as since_what,
    r.notes ->> 'verdict' as verdict,
    coalesce((r.notes ->> 'drift_looks')::bigint, 0) as drift_looks,
    r.finished_at = max(r.finished_at) over () as is_in_force
  from ledger.runs as r
  cross join curated as c
  where r.stage = 'drift_report' and (r.finished_at <= c.finished_at or r.run_id = c.run_id)
)
select
  c.run_id,                      -- the run that compared
  strftime(c.finished_at at time zone 'UTC', '%Y-%m-%d %H:%M') as compared_at,  -- when, UTC
  c.since_what,                  -- since when records counted as new, in words
  c.verdict,                     -- what drift_report said
  c.drift_looks,                 -- looks that were drift
  c.is_in_force                  -- whether it is the last comparison before the set was curated, or of the same run
from compared as c
cross join last_release as l
where c.is_in_force or (c.drift_looks > 0 and c.finished_at > coalesce(l.finished_at, '-infinity'))
order by c.finished_at desc

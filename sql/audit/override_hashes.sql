-- One row per verdict of a person that the ledger knows or that is there: as it was entered, edited, added or removed.
-- What erasures removed is missing rightly; erasure.receipts counts it.
with known as (
  select run_id, unnest((notes -> 'entry_hashes')::varchar[]) as entry_hash
  from ledger.runs
  where stage = 'override'
),
there as (
  select
    run_id, record_id, entry_hash as kept_hash,
    sha256(json_array(record_id, verdict, reason, decided_by, epoch_us(decided_at), run_id, nonce)::varchar) as entry_hash
  from overrides.entries
)
select
  coalesce(k.run_id, t.run_id) as run_id,       -- run of the entry
  t.record_id,                                  -- the record; null where the entry is gone
  case
    when t.entry_hash is null then 'is missing'
    when k.entry_hash is null then 'was edited or added'
    else 'is as it was entered'
  end as state                                  -- what became of it
from known as k
full join there as t on t.run_id = k.run_id and t.entry_hash = k.entry_hash
order by state, run_id, record_id

-- One row per tombstone of a record that a request names and that only a withdrawal keeps out: taken back, it would let the record in again.
-- $hashes: keyed hashes of the ids asked for, ours and owners'
-- $source: name of a source; null: any
with for_good as (
  select tombstone_id
  from erasure.tombstones
  where erasure_id not in (select erasure_id from erasure.tombstones where kind in ('source', 'license'))
)
select distinct
  tombstone_id,  -- id that stands for the record
  kind,          -- what was hashed
  keyed_hash,    -- its keyed hash
  source         -- refused in this source only; null: in every source
from erasure.tombstones
where tombstone_id in (
    select tombstone_id from erasure.tombstones where kind in ('record', 'owner_id') and list_contains($hashes::varchar[], keyed_hash)
  )
  and tombstone_id not in (select tombstone_id from for_good)
  and ($source::varchar is null or tombstone_id in (select tombstone_id from erasure.tombstones where source = $source::varchar))
order by tombstone_id, kind, keyed_hash

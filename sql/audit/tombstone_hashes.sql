-- One row per erasure: the hash over its tombstones, computed afresh, and which of them are not what was written.
with hashed as (
  select
    erasure_id,
    position,
    row_hash,
    sha256(json_array(
      erasure_id, position, tombstone_id, kind, keyed_hash, key_id, source, reason, epoch_us(erased_at)
    )::varchar) as hash
  from erasure.tombstones
  where position is not null
)
select
  erasure_id,                      -- the erasure
  count(*) as tombstones,          -- its tombstones
  sha256(string_agg(hash, '' order by position, hash)) as tombstones_hash,  -- the hash over them
  coalesce(list_sort(list(position) filter (row_hash is distinct from left(hash, 16))), []) as edited,  -- numbers of rows that no longer fit their short hash
  list_sort(list(position)) as positions  -- numbers there are
from hashed
group by erasure_id

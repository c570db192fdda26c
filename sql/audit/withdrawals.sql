-- One row per withdrawal of a source or licence: whether new records of it are refused.
select distinct
  t.erasure_id,                                     -- the erasure that withdrew it
  t.erased_at as withdrawn_at,                      -- when
  r.receipt ->> '$.asked.source' as source,         -- the source; null: any
  r.receipt ->> '$.asked.license' as license,       -- the licence; null: any
  t.reason,                                         -- why, as given
  l.lifted_at,                                      -- when it was taken back; null while it is in force
  l.reason as lifted_because                        -- why
from erasure.tombstones as t
join erasure.receipts as r on r.erasure_id = t.erasure_id
left join erasure.lifted as l on l.erasure_id = t.erasure_id
where t.kind in ('source', 'license')
order by withdrawn_at

-- One row per record that was found to be a duplicate of one of some records, or they of it, and that is none of them.
-- $ids: our ids of the records
with named as (select unnest($ids::varchar[]) as record_id)
select
  record_id,                                           -- our id of the duplicate
  if(bool_or(kind = 'exact'), 'exact', 'near') as kind, -- exact: the same words; near: by shingles
  max(similarity) as similarity                        -- Jaccard similarity
from (
  select p.record_id, p.kind, p.similarity from deduped.pairs as p where p.matched_record_id in (select record_id from named)
  union all
  select p.matched_record_id, p.kind, p.similarity from deduped.pairs as p where p.record_id in (select record_id from named)
)
where record_id not in (select record_id from named)
group by record_id
order by record_id

-- One row per record that was dropped in favour of this one.
-- $record_id: our id of the kept record
select
  p.record_id,         -- our id of the duplicate
  r.source,            -- its source
  p.source_record_id,  -- its owner's id
  p.kind,              -- exact or near
  p.similarity         -- Jaccard similarity
from deduped.pairs as p
join raw.records as r on r.record_id = p.record_id
where p.matched_record_id = $record_id
order by p.similarity desc, p.record_id

-- One row per duplicate: dropped in favour of a record that is kept, by direct evidence.
-- $min_jaccard: Jaccard similarity from which two records are near-duplicates
select
  p.record_id,                        -- our id of the duplicate
  'drop' as verdict,                  -- always 'drop' here
  p.kind || '_duplicate' as rule,     -- exact_duplicate or near_duplicate
  p.similarity as value,              -- Jaccard similarity with the survivor
  case p.kind when 'exact' then 1 else $min_jaccard::double end as threshold,  -- what it was held against
  p.matched_record_id                 -- the survivor
from deduped.pairs as p
where p.matched_record_id not in (select record_id from deduped.pairs)

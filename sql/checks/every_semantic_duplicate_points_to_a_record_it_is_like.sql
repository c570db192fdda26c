-- Every semantic duplicate points to another candidate that is none itself, and is more like it than the threshold.
-- asset: curated_set
select
  d.record_id,          -- the dropped record
  d.matched_record_id,  -- the record it was dropped for
  d.value,              -- their cosine
  d.threshold           -- the largest cosine allowed
from curated_set.scores as d
left join curated_set.scores as m on m.record_id = d.matched_record_id
where d.rule = 'semantic_duplicate'
  and not coalesce(d.value > d.threshold and m.record_id <> d.record_id and m.rule <> 'semantic_duplicate', false)

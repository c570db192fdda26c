-- One row per candidate: selected, or not, with its draw against the cut.
with cut as (select max(draw) as draw from curated_set.scores where is_selected)
select
  s.record_id,                                             -- our id of the record
  if(s.is_selected, 'keep', 'drop') as verdict,            -- the verdict
  if(s.is_selected, 'selected', 'not_selected') as rule,   -- how it came about
  s.draw as value,                                         -- its draw
  cut.draw as threshold,                                   -- the largest draw that was selected
  null::varchar as matched_record_id                       -- no other record
from curated_set.scores as s
cross join cut

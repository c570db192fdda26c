-- One row per part of a benchmark item of which a record holds a good share, the greatest share first.
-- $record_id: our id of the record
select
  m.benchmark,       -- the benchmark
  m.item_id,         -- its item
  m.field,           -- part of the item
  m.coverage,        -- share of the part's n-grams that the record holds
  m.shared_ngrams,   -- how many it holds
  m.ngrams,          -- how many the part has
  m.longest_run      -- longest run of words both hold, numbers as 0
from contamination.matches as m
where m.record_id = $record_id
order by m.coverage desc, m.benchmark, m.item_id, m.field

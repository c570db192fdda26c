-- One row per record and line or paragraph that stands in its text more than once.
-- Lines of a repeated paragraph are listed, too.
-- $passages: whether passages are looked at
with occurrences_of_texts as (
  select text_hash, o['passage_hash'] as passage_hash, o['start'] as start, o['chars'] as chars, o['is_paragraph'] as is_paragraph
  from (select text_hash, unnest(passages) as o from deduped.passages)
)
select
  r.record_id,                                      -- our id of the record
  any_value(r.source_record_id) as source_record_id,  -- the owner's id
  p.passage_hash::ubigint as passage_hash,          -- hash of what it says
  if(any_value(p.is_paragraph), 'paragraph', 'line') as unit,  -- line, or paragraph of several lines
  min(p.start)::bigint as start,                    -- character it first begins at, from 0
  max(p.chars)::bigint as chars,                    -- characters of one occurrence
  count(*) as times                                 -- occurrences
from cleaned.records as r
join occurrences_of_texts as p using (text_hash)
where $passages
group by r.record_id, p.passage_hash
having count(*) > 1

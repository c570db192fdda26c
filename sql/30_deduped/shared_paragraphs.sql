-- One row per line or paragraph that stands in many records which are no duplicates of one another: boilerplate.
-- $passages: whether passages are looked at
-- $shared_paragraph_records: a passage in more records than that is shared
-- $survivor: with drop_all no record of a group stays, and none counts
with occurrences_of_texts as (
  select text_hash, o['passage_hash'] as passage_hash, o['start'] as start, o['chars'] as chars, o['is_paragraph'] as is_paragraph
  from (select text_hash, unnest(passages) as o from deduped.passages)
),
occurrences as (
  select p.passage_hash, p.is_paragraph, p.start, p.chars, r.record_id, r.source_record_id, r.text, c.place
  from cleaned.records as r
  join occurrences_of_texts as p using (text_hash)
  join (
    select record_id, row_number() over (order by source, source_uri, source_row, record_id) as place from cleaned.records
  ) as c using (record_id)
  where $passages and r.record_id not in (select record_id from deduped.pairs)
    and not ($survivor = 'drop_all' and r.record_id in (select matched_record_id from deduped.pairs))
),
shared as (
  select passage_hash, count(distinct record_id) as records, min(place) as place
  from occurrences
  group by passage_hash
  having count(distinct record_id) > $shared_paragraph_records::bigint
)
select
  s.passage_hash::ubigint as passage_hash,                   -- hash of what it says
  if(o.is_paragraph, 'paragraph', 'line') as unit,           -- line, or paragraph of several lines
  s.records,                                                 -- records it stands in
  o.record_id,                                               -- the first of them by source, file and row
  o.source_record_id,                                        -- its owner's id
  o.start::bigint as start,                                  -- character it begins at there, from 0
  o.chars::bigint as chars,                                  -- its characters
  trim(substring(o.text, o.start + 1, least(o.chars, 200)), E' \t\r\n') as excerpt  -- its beginning
from shared as s
join occurrences as o on o.passage_hash = s.passage_hash and o.place = s.place
qualify row_number() over (partition by s.passage_hash order by o.start) = 1

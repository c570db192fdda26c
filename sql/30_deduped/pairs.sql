-- One row per duplicate and the record it duplicates, with the evidence.
-- Every near pair is verified: its similarity is the true Jaccard similarity of the two sets of shingles.
-- incoming(record_id, matched_record_id, similarity, kind): verified pairs; from cleaned.records(record_id, text)
select
  i.record_id::varchar as record_id,                  -- our id of the duplicate
  i.matched_record_id::varchar as matched_record_id,  -- our id of the record it duplicates
  i.similarity::double as similarity,                 -- Jaccard similarity of their shingles, 0 to 1; 1 for an exact duplicate
  i.kind::varchar as kind,                            -- 'exact' (same words in the same order) or 'near'
  r.source_record_id,                                 -- the owner's id of the duplicate
  m.source_record_id as matched_source_record_id      -- the owner's id of the record it duplicates
from incoming as i
join cleaned.records as r on r.record_id = i.record_id
join cleaned.records as m on m.record_id = i.matched_record_id

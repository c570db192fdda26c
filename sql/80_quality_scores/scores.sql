-- One row per record: how good a text the judge finds it.
-- incoming(record_id, quality, judge, revision): the judge's scores; from filtered.signals(record_id), embeddings.vectors(embedding)
select
  record_id::varchar as record_id,  -- our id of the record
  quality::double as quality,       -- calibrated probability that the text is good, 0 to 1
  judge::varchar as judge,          -- which judge
  revision::varchar as revision     -- revision of the judge
from incoming

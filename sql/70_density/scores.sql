-- One row per record: how crowded the embedding space is around it.
-- incoming(record_id, density): Gaussian kernel sum, exact or estimated; from embeddings.vectors(record_id, embedding)
select
  record_id::varchar as record_id,  -- our id of the record
  density::double as density        -- sum of kernel similarities to all records, itself included: at least 1
from incoming

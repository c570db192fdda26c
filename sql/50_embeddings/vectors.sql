-- One row per record and its embedding.
-- $model: id or path of the model
-- $revision: revision of its weights, its pooling and its arithmetic
select
  r.record_id,  -- our id of the record
  c.embedding   -- unit vector, FLOAT[n]
from filtered.records as r
join embeddings.cache as c on c.text_hash = r.text_hash and c.model = $model and c.revision = $revision

-- One row per record and the cluster it belongs to.
-- incoming(record_id, cluster_id, distance): k-means over the embeddings; from embeddings.vectors(record_id, embedding)
select
  record_id::varchar as record_id,    -- our id of the record
  cluster_id::integer as cluster_id,  -- the cluster; ids are carried over from the run before where clusters match
  distance::float as distance         -- Euclidean distance of the embedding to the cluster's centroid
from incoming

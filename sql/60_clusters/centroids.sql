-- One row per cluster: its centroid, by which the next run recognises it.
-- incoming(cluster_id, centroid): k-means over the embeddings; from embeddings.vectors(embedding)
select
  cluster_id::integer as cluster_id,  -- the cluster
  centroid::float[] as centroid       -- k-means centroid: mean of the sampled members' embeddings
from incoming

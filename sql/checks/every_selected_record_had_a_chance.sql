-- Every selected record had a chance above 0 and a place in training; no two share a place.
-- asset: curated_set
select
  record_id,              -- a record of the curated set
  inclusion_probability,  -- its chance
  position                -- its place
from curated_set.records
qualify
  inclusion_probability is null or not inclusion_probability > 0 or position is null
  or count(*) over (partition by position) > 1

-- Every record held back for review is in the review table, and no other.
-- asset: curated_set
select
  coalesce(s.record_id, v.record_id) as record_id,  -- the record
  s.rule,                                           -- the rule on it
  v.record_id is not null as is_listed              -- whether the table lists it
from (select record_id, rule from curated_set.scores where rule = 'cluster_review') as s
full join curated_set.review as v on v.record_id = s.record_id
where s.record_id is null or v.record_id is null

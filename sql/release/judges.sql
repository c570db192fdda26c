-- One row per judge whose scores the curated set was selected by.
select
  judge,                  -- embedded, reference, ask_llm, or student
  revision,               -- revision of the judge
  count(*) as records     -- records of the curated set it scored
from quality_scores.scores
where record_id in (select record_id from curated_set.records)
group by judge, revision
order by records desc, judge

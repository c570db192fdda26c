-- One row per record that is dropped: in favour of a record that is kept, by direct evidence, or with its whole group.
-- exact_duplicate, near_duplicate: a kept record says the same. duplicate_group (survivor drop_all): the best of a group of
-- duplicates goes, too. same_instruction, same_answer: switched on, the best of those in conflict that nothing before dropped
-- stays, and so does a record that stands for others. same_after_removal, nothing_after_removal: once shared or repeated passages are taken out.
-- $min_jaccard: Jaccard similarity from which two records are near-duplicates
-- $survivor: which copy is kept; drop_all keeps none
-- $drop_same_instruction: drop records that ask what a better one asks
-- $drop_same_answer: drop records that answer what a better one answers
with groups as (
  select
    p.matched_record_id as record_id,
    max(p.similarity) as similarity,
    arg_max(p.record_id, (p.similarity, p.record_id)) as matched_record_id
  from deduped.pairs as p
  where $survivor = 'drop_all' and p.matched_record_id not in (select record_id from deduped.pairs)
  group by p.matched_record_id
),
same_instruction as (
  select c.record_id, first_value(c.record_id) over (partition by c.shared_hash order by k.rank) as matched_record_id
  from deduped.instruction_conflicts as c
  join deduped.compared as k using (record_id)
  where $drop_same_instruction and c.kind = 'same_instruction' and c.record_id not in (select record_id from groups)
  qualify c.record_id <> matched_record_id
),
same_answer as (
  select record_id, matched_record_id
  from (
    select c.record_id, first_value(c.record_id) over (partition by c.shared_hash order by k.rank) as matched_record_id
    from deduped.instruction_conflicts as c
    join deduped.compared as k using (record_id)
    where $drop_same_answer and c.kind = 'same_answer'
      and c.record_id not in (select record_id from groups union all select record_id from same_instruction)
  )
  where record_id <> matched_record_id and record_id not in (select matched_record_id from same_instruction)
),
standing as (
  select c.record_id, c.rank, coalesce(s.text_hash, c.text_hash) as text_hash, s.text = '' as is_empty, s.record_id is not null as is_shortened
  from deduped.compared as c
  left join deduped.shortened as s using (record_id)
  where c.record_id not in (
    select record_id from deduped.pairs
    union all select record_id from groups
    union all select record_id from same_instruction
    union all select record_id from same_answer
  )
),
same_text as (
  select record_id, first_value(record_id) over (partition by text_hash order by rank) as matched_record_id
  from standing
  where is_empty is not true
  qualify bool_or(is_shortened) over (partition by text_hash)
)
select
  p.record_id,                        -- our id of the duplicate
  'drop' as verdict,                  -- always 'drop' here
  p.kind || '_duplicate' as rule,     -- the rule, see above
  p.similarity as value,              -- Jaccard similarity with the matched record; 1 where they share all that is compared
  case p.kind when 'exact' then 1 else $min_jaccard::double end as threshold,  -- what it was held against
  p.matched_record_id                 -- the survivor; of a duplicate_group the copy it is most like
from deduped.pairs as p
where p.matched_record_id not in (select record_id from deduped.pairs)
union all
select record_id, 'drop', 'duplicate_group', similarity, $min_jaccard::double, matched_record_id from groups
union all
select record_id, 'drop', 'same_instruction', 1, 1, matched_record_id from same_instruction
union all
select record_id, 'drop', 'same_answer', 1, 1, matched_record_id from same_answer
union all
select record_id, 'drop', 'same_after_removal', 1, 1, matched_record_id from same_text where record_id <> matched_record_id
union all
select record_id, 'drop', 'nothing_after_removal', 0, 1, null from standing where is_empty

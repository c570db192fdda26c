-- One row per record that asks what another asks and answers otherwise, or answers word for word what another answers to something else.
-- Among records of kind instruction or chat that are no duplicates of others. Rewards and preferences answer a request
-- several times on purpose; a chat that begins with its answer asks nothing, so it shares no instruction.
-- $instruction_conflicts: whether they are looked for
-- $min_answer_words: shorter answers (yes, a class, a number) are the same for good reasons
with standing as (
  select e.*, c.rank
  from deduped.exchanges as e
  join deduped.compared as c using (record_id)
  where $instruction_conflicts and e.version = (select max(version) from deduped.exchanges)
    and e.record_id not in (select record_id from deduped.pairs)
),
conflicts as (
  select record_id, rank, 'same_instruction' as kind, request_hash as shared_hash, answer_hash as other_hash from standing
  where request_hash <> md5('')
  union all
  select record_id, rank, 'same_answer', answer_hash, request_hash from standing where answer_words >= $min_answer_words::int
)
select
  k.record_id,                                                 -- our id of the record
  r.source_record_id,                                          -- the owner's id
  k.kind,                                                      -- same_instruction (different answers) or same_answer (different instructions)
  k.shared_hash,                                               -- MD5 of the instruction or answer they share
  count(*) over same as records,                               -- records that share it
  rank() over (partition by k.kind, k.shared_hash order by k.rank) = 1 as is_best,  -- whether the survivor policy puts it first
  first_value(k.record_id) over (partition by k.kind, k.shared_hash order by k.rank) as matched_record_id,  -- the first of them
  first_value(r.source_record_id) over (partition by k.kind, k.shared_hash order by k.rank) as matched_source_record_id  -- its owner's id
from conflicts as k
join cleaned.records as r using (record_id)
window same as (partition by k.kind, k.shared_hash)
qualify count(*) over same > 1 and min(k.other_hash) over same <> max(k.other_hash) over same

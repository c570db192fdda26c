-- One row per cleaned record: which arms of the evaluation may train on it, and which slices hold it out.
-- Held-out records are drawn from the deduplicated ones; no arm trains on them, on any duplicate of them, or on a record that
-- holds most of one (eval_report.leaks). Everything is the rest; random is drawn blindly from it, to as many characters as the
-- curated set has there.
-- $share: share of the deduplicated records (of everything, and of the target) that is held out
-- $target: glob over 'source/source_uri' that names the target; null for none
-- $seed: seed of both draws
with candidates as (
  select record_id, 'everything' as slice from deduped.records
  union all
  select record_id, 'target' from deduped.records where (source || '/' || source_uri) glob $target::varchar
),
chosen as (
  select record_id, slice
  from candidates
  qualify
    row_number() over (partition by slice order by md5_number_upper(record_id || slice || $seed::varchar), record_id)
    <= greatest(2, ceil($share::double * count(*) over (partition by slice)))
),
heldout as (select record_id, list_sort(list(slice)) as slices from chosen group by record_id),
survivors as (
  -- A duplicate that a person keeps stands among the deduplicated records, too. Held out, it keeps its survivor and that one's others out.
  select matched_record_id from deduped.pairs where record_id in (select record_id from heldout)
),
duplicates as (
  select record_id from deduped.pairs
  where matched_record_id in (select record_id from heldout union all select matched_record_id from survivors)
  union all
  select matched_record_id from survivors
),
flagged as (
  select
    r.record_id,
    len(r.text) as chars,
    h.slices,
    h.slices is null
      and r.record_id not in (select record_id from duplicates union all select record_id from eval_report.leaks) as is_trainable,
    r.record_id in (select record_id from curated_set.records) as is_selected,
    md5_number_upper(r.record_id || 'arms' || $seed::varchar) as draw
  from cleaned.records as r
  left join heldout as h using (record_id)
)
select
  record_id,                                      -- our id of the record
  coalesce(slices, []::varchar[]) as heldout_in,  -- slices that hold it out: 'everything', 'target'
  is_trainable and is_selected as is_in_curated,  -- the curated arm may train on it
  is_trainable and coalesce(
    sum(chars) over (partition by is_trainable order by draw, record_id rows between unbounded preceding and 1 preceding), 0
  ) < sum(chars) filter (is_trainable and is_selected) over () as is_in_random,  -- the random arm may train on it
  is_trainable as is_in_everything,               -- the arm of everything may train on it
  chars,                                          -- characters of its text
  draw                                            -- arms read their records in this order
from flagged

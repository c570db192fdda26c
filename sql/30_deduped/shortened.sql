-- One row per record whose text was shortened: repeated passages or shared paragraphs were taken out.
-- Records with turns are left as they are: a release reads their originals. The first occurrence stays: in the record,
-- and of a shared passage in the first record that has it. Of the blank lines left behind one stays.
-- $remove_repeated_passages: take repeated passages out
-- $remove_shared_paragraphs: take shared paragraphs out
with occurrences_of_texts as (
  select text_hash, o['passage_hash'] as passage_hash, o['start'] as start, o['chars'] as chars, o['is_paragraph'] as is_paragraph
  from (select text_hash, unnest(passages) as o from deduped.passages)
),
cuts as (
  select o.text_hash, r.record_id, r.text, o.start, o.start + o.chars as stop
  from occurrences_of_texts as o
  join cleaned.records as r on r.text_hash = o.text_hash and r.kind in ('document', 'html')
  left join deduped.repeated_passages as p on p.record_id = r.record_id and p.passage_hash = o.passage_hash
  left join deduped.shared_paragraphs as s on s.passage_hash = o.passage_hash
  where r.record_id not in (select record_id from deduped.pairs)
    and (
      ($remove_repeated_passages and o.start > p.start)
      or ($remove_shared_paragraphs and s.records is not null and (s.record_id <> r.record_id or o.start > s.start))
    )
),
reached as (
  select
    *,
    coalesce(
      max(stop) over (partition by record_id order by start, stop desc rows between unbounded preceding and 1 preceding), 0
    ) as reached
  from cuts
),
pieces as (
  select record_id, start as place, substring(text, reached + 1, greatest(0, start::bigint - reached::bigint)) as piece, 1 as cut
  from reached
  union all
  select record_id, max(stop), substring(any_value(text), max(stop) + 1), 0 from reached group by record_id
),
joined as (
  select record_id, trim(regexp_replace(string_agg(piece, '' order by place, cut desc), '\n{3,}', E'\n\n', 'g'), E' \n') as text, sum(cut)::bigint as removed_passages
  from pieces
  group by record_id
)
select
  j.record_id,                                              -- our id of the record
  r.source_record_id,                                       -- the owner's id
  j.text,                                                   -- the text without what was taken out
  left(sha256(j.text), 32) as text_hash,                    -- what embeddings and scores of that text are cached under
  len(r.text) - len(j.text) as removed_chars,               -- characters taken out
  j.removed_passages                                        -- lines and paragraphs taken out
from joined as j
join cleaned.records as r using (record_id)

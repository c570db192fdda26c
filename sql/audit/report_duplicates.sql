-- One row per kind of duplicate that was merged into a kept record, and whether that record is a member.
select
  p.kind,                                              -- exact or near
  m.record_id is not null as is_for_a_member,          -- whether the record that was kept is in the set
  count(distinct p.record_id) as records,              -- duplicates merged
  min(p.similarity) as least_similarity,               -- least Jaccard similarity
  count(distinct p.matched_record_id) as kept          -- records they were merged into
from deduped.pairs as p
left join (select distinct record_id from members) as m on m.record_id = p.matched_record_id
group by all
order by p.kind, is_for_a_member

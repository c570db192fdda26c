-- One row per record of a release: what the other report_*.sql call members. `create temp table members as` this,
-- with the release's id written in its place: DuckDB prepares no `create`.
-- $release_id: the release
select distinct
  record_id,  -- our id of the record, or a tombstone's
  split       -- its split
from release.records
where release_id = $release_id

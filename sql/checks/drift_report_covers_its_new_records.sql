-- Every record of a new concept is a record that came through the filters, and its concept is described.
-- asset: drift_report
select r.record_id, r.concept
from drift_report.records as r
left join filtered.records as f using (record_id)
left join drift_report.concepts as c using (concept)
where f.record_id is null or (r.concept is not null and c.concept is null)

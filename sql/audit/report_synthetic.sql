-- One row per generating model that the members' originals name; one without a model for those that only say they are synthetic.
-- Read are the fields generated_by, generator, generating_model, model, model_name, synthetic_model and synthetic, is_synthetic of a record's original.
with said as (
  select
    r.record_id,
    r.source,
    coalesce(
      r.original::json ->> '$.generated_by', r.original::json ->> '$.generator', r.original::json ->> '$.generating_model',
      r.original::json ->> '$.synthetic_model', r.original::json ->> '$.model', r.original::json ->> '$.model_name'
    ) as model,
    coalesce(r.original::json ->> '$.synthetic', r.original::json ->> '$.is_synthetic') in ('true', '1', 'yes') as is_synthetic
  from members as m
  join raw.records as r using (record_id)
  where regexp_matches(r.original, '"(generated_by|generator|generating_model|synthetic_model|model|model_name|synthetic|is_synthetic)"')
    and json_valid(r.original)
)
select
  model,                                          -- the model; null where none is named
  count(*) as records,                            -- records
  list_sort(list(distinct source)) as sources     -- their sources
from said
where model is not null or is_synthetic
group by model
order by records desc, model

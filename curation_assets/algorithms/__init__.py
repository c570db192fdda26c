"""The mathematics of curation: pure functions from numpy, polars and pyarrow data to the same, one module per family.

They know no framework and open no file or database. Deciding what to do with a result belongs in `stages/` and `sql/`.
"""

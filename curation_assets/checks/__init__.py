"""Asset checks: what must hold of a stage's tables. Critical ones block what comes after.

expectations.py holds the Great Expectations suites (schema, nulls, ranges, uniqueness); invariants.py turns every file
of sql/checks, a query that returns the bad rows, into a check whose name is the promise.
"""

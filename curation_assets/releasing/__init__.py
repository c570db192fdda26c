"""A release: a folder of training data that anyone can load and verify without the database it came from.

formats.py writes a record as each format has it; data_files.py streams rows to JSONL and Parquet; material.py reads from
the database what a release is made of; manifest.py hashes it; card.py and croissant.py describe it to people and machines;
folder.py puts it in place, whole or not at all; verify.py needs the folder only.
"""

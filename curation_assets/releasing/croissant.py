"""croissant.json: the release as Croissant metadata (MLCommons, format specification 1.1), which data catalogues read.

Every file is a FileObject with its SHA-256; every Parquet file is a RecordSet whose fields are its columns.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from curation_assets.releasing.data_files import DataFile
from curation_assets.releasing.manifest import Manifest

FILE = "croissant.json"

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context the specification gives (section "Croissant Namespaces and JSON-LD Context")."""

ENCODING = {"parquet": "application/x-parquet", "jsonl": "application/jsonl"}


def croissant(
    manifest: Manifest,
    files: Sequence[DataFile],
    *,
    description: str,
    licenses: Sequence[str],
    languages: Sequence[str],
) -> dict[str, Any]:
    """The metadata of a release. manifest: with release_id, name, released_at and the entries of the data files."""
    entries = manifest["reproducible"]["data_files"]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": manifest["name"],
        "description": description,
        "citeAs": f"{manifest['name']}, release {manifest['release_hash']}",
        "license": list(licenses) or ["unknown"],
        "inLanguage": list(languages),
        "datePublished": manifest["released_at"],
        "version": f"1.0.0+{manifest['release_id']}",
        "identifier": manifest["release_hash"],
        "isLiveDataset": False,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file.path,
                "name": file.path,
                "contentUrl": file.path,
                "contentSize": f"{entries[file.path]['bytes']} B",
                "encodingFormat": ENCODING[file.path.rsplit(".", 1)[-1]],
                "sha256": entries[file.path]["sha256"],
            }
            for file in files
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": f"{file.format}_{file.split}",
                "name": f"{file.format}_{file.split}",
                "description": f"{file.rows:,} rows of the split {file.split} in the format {file.format}.",
                "field": [_field(file, field) for field in file.schema],
            }
            for file in files
            if file.path.endswith(".parquet")
        ],
    }


def _field(file: DataFile, column: pa.Field) -> dict[str, Any]:
    """A column as a field; lists of structs have their members as subfields."""
    name = f"{file.format}_{file.split}/{column.name}"
    source = {"fileObject": {"@id": file.path}, "extract": {"column": column.name}}
    return _typed(name, column.type, source, [])


def _typed(name: str, kind: pa.DataType, source: dict[str, Any], path: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"@type": "cr:Field", "@id": name, "name": name}
    if pa.types.is_list(kind):
        found |= {"isArray": True, "arrayShape": "-1"}
        kind = kind.value_type
    if pa.types.is_struct(kind):
        parts = [_typed(f"{name}/{part.name}", part.type, source, [*path, part.name]) for part in kind]
        return found | {"subField": parts}
    taken = {"transform": {"jsonPath": ".".join(path)}} if path else {}
    return found | {"dataType": _data_type(kind), "source": source | taken}


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"

"""The text in the running Python's own packages: real, messy, licensed, and on every machine that can run this.

Four parts: the long descriptions of installed distributions, their licence files, the docstrings of the standard
library, and the docstrings of installed modules. Nothing is imported: sources are parsed. The many docstrings and
licences that repeat each other are part of what makes it worth curating.
"""

import ast
import hashlib
import math
import platform
import re
import sysconfig
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from curation_assets.readers.fields import as_json
from curation_assets.readers.records import Record, Reject, Unusable, excerpt, refuse_unstorable

PATH = "python_environment"
LICENCE, DOCUMENTATION = "licence", "documentation"

_OURSELVES = "curation-assets"
_MIN_DOCSTRING_WORDS = 20  # shorter ones are signatures and one-liners
_MAX_DOCSTRINGS = 400  # of one distribution, so that the largest do not drown the rest
_SAMPLE_PER_DISTRIBUTION = 1 / 50  # and in a sample no more than this share of it: fewer files to parse, more packages
_MAX_FILE_BYTES = 2_000_000  # larger Python files are generated tables
_LICENCE_FILE = re.compile(r"(licen[sc]e|copying|notice)", re.IGNORECASE)
_NO_TEXT = {".py", ".pyc", ".pyi", ".so", ".json", ".png", ".svg", ".gz", ".zip", ".js", ".css", ".html"}
_SKIPPED_FOLDERS = {
    *("__pycache__", "site-packages", "dist-packages", "test", "tests", "testing", "_vendor", "vendored"),
    *("idlelib", "lib2to3", "turtledemo", "ensurepip"),
}
_PYTHON_LICENSE = "PSF-2.0"


Docstrings = Iterator[tuple[int, str, str]]


class Item(NamedTuple):
    """One text of the environment and all that is known of it."""

    id: str
    part: str
    uri: str
    row: int
    text: str
    package: str
    version: str
    license: str | None
    object: str | None


# --- which environment ----------------------------------------------------------------------------------------------


def path(parts: Sequence[str], max_records: int | None) -> Path:
    """Name a selection from the environment as a path, so that the path alone says what is read."""
    return Path(PATH, "+".join(parts), str(max_records or "all"))


class Package(NamedTuple):
    """One installed distribution; its metadata are parsed once, here."""

    name: str
    version: str
    license: str | None
    description: str
    files: list[metadata.PackagePath]


def environment_hash(selection: Path) -> str:
    """Give the SHA-256 of the distributions and versions, Python's version and the selection, in hex."""
    names = [f"{name}=={distribution.version}" for name, distribution in _distributions()]
    state = [platform.python_version(), selection.as_posix(), *names]
    return hashlib.sha256("\n".join(state).encode()).hexdigest()


def _distributions() -> list[tuple[str, metadata.Distribution]]:
    """List the installed distributions by normalized name (PEP 503), this project left out; the importable one wins."""
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        stated = distribution.metadata["Name"]
        if stated:  # a folder that pip left behind states none
            found.setdefault(re.sub(r"[-_.]+", "-", stated).lower(), distribution)
    found.pop(_OURSELVES, None)
    return sorted(found.items())


def packages() -> list[Package]:
    """List the installed distributions with what they state of themselves, by name."""
    found = []
    for name, distribution in _distributions():
        stated = distribution.metadata
        fields = {key: stated[key] for key in ("License-Expression", "License") if key in stated}
        license = stated_license(fields, stated.get_all("Classifier") or [])
        description = stated["Description"] or stated.get_payload()  # the body, since Metadata 2.1
        files = sorted(distribution.files or [], key=str)
        text = description if isinstance(description, str) and description.strip() != "UNKNOWN" else ""
        found.append(Package(name, str(stated["Version"]), license, text, files))
    return found


def stated_license(stated: Mapping[str, str], classifiers: Sequence[str]) -> str | None:
    """Take the licence a distribution states: License-Expression (PEP 639), a short License, or its classifiers.

    >>> stated_license({"License-Expression": "MIT"}, [])
    'MIT'
    >>> stated_license({"License": "UNKNOWN"}, ["License :: OSI Approved :: BSD License"])
    'BSD License'
    """
    if expression := stated.get("License-Expression"):
        return expression
    short = stated.get("License", "").strip()
    if short and short.upper() != "UNKNOWN" and len(short) <= 100 and "\n" not in short:
        return short
    named = [name.rsplit(" :: ", 1)[-1] for name in classifiers if name.startswith("License ::")]
    return " OR ".join(dict.fromkeys(named)) or None


# --- the four parts -------------------------------------------------------------------------------------------------


def descriptions(installed: Sequence[Package]) -> Iterator[Item | Reject]:
    """Give the long description of every distribution."""
    for package in installed:
        if package.description.strip():
            uri = f"packages/{package.name}/METADATA"
            yield _item(f"{package.name}:METADATA", "descriptions", uri, 1, package.description, package)


def licences(installed: Sequence[Package]) -> Iterator[Item | Reject]:
    """Give the licence files that distributions list in their RECORD."""
    for package in installed:
        for file in package.files:
            if not _is_licence(file):
                continue
            inside = _below_metadata(file)
            uri = f"packages/{package.name}/{inside}"
            text = _read(Path(str(file.locate())), uri)
            if isinstance(text, Reject):
                yield text
            elif text.strip():
                yield _item(f"{package.name}:{inside}", "licences", uri, 1, text, package)


def _is_licence(file: PurePosixPath) -> bool:
    if file.suffix.lower() in _NO_TEXT or ".." in file.parts:
        return False
    in_metadata = len(file.parts) > 2 and file.parts[0].endswith(".dist-info") and file.parts[1] == "licenses"
    return in_metadata or bool(_LICENCE_FILE.match(file.name))


def _below_metadata(file: PurePosixPath) -> PurePosixPath:
    """Leave out the folder that carries the version, so that a licence keeps its name when a package is updated.

    >>> str(_below_metadata(PurePosixPath("numpy-2.4.6.dist-info/licenses/LICENSE.txt")))
    'LICENSE.txt'
    """
    parts = file.parts
    if parts[0].endswith((".dist-info", ".egg-info")):
        parts = parts[2:] if parts[1] == "licenses" and len(parts) > 2 else parts[1:]
    return PurePosixPath(*parts)


def stdlib() -> Iterator[Item | Reject]:
    """Give the docstrings of the standard library, and the language reference that `help()` shows."""
    root = Path(sysconfig.get_paths()["stdlib"])
    python = Package("python", platform.python_version(), _PYTHON_LICENSE, "", [])
    for file in sorted(root.rglob("*.py"), key=lambda file: file.relative_to(root).as_posix()):
        inside = PurePosixPath(file.relative_to(root).as_posix())
        if _is_skipped(inside) or inside.parts[0].startswith("config-"):
            continue
        uri = f"stdlib/{inside}"
        find = _topics if str(inside) == "pydoc_data/topics.py" else docstrings
        yield from _docstring_items(file, inside, uri, "stdlib", python, find)


def modules(installed: Sequence[Package], most: int) -> Iterator[Item | Reject]:
    """Give the docstrings of installed modules, at most so many a distribution."""
    for package in installed:
        files = [
            file for file in package.files if file.suffix == ".py" and ".." not in file.parts and not _is_skipped(file)
        ]
        found: list[Item] = []
        # Files are opened in an order of their own, the same everywhere, until there is enough: a sample across the
        # distribution for the price of some of its files.
        for file in sorted(files, key=lambda file: _order(f"{package.name}/{file}")):
            uri = f"modules/{package.name}/{file}"
            for item in _docstring_items(Path(str(file.locate())), file, uri, "modules", package, docstrings):
                if isinstance(item, Reject):
                    yield item
                else:
                    found.append(item)
            if len(found) >= most:
                break
        yield from sorted(found[:most], key=lambda item: (item.uri, item.row))


def _docstring_items(
    file: Path, inside: PurePosixPath, uri: str, part: str, package: Package, find: Callable[[ast.Module], Docstrings]
) -> Iterator[Item | Reject]:
    tree = _parse(file, uri)
    if not isinstance(tree, ast.Module):
        yield from [tree] if tree else []
        return
    for row, name, text in find(tree):
        qualified = f"{_module(inside)}.{name}".strip(".")
        yield _item(f"{part}:{qualified}", part, uri, row, text, package, qualified)


def _item(id: str, part: str, uri: str, row: int, text: str, package: Package, object: str | None = None) -> Item:
    return Item(id, part, uri, row, text, package.name, package.version, package.license, object)


def _is_skipped(inside: PurePosixPath) -> bool:
    return any(part in _SKIPPED_FOLDERS for part in inside.parts) or inside.name.startswith(("test_", "conftest"))


def _module(inside: PurePosixPath) -> str:
    parts = inside.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# --- reading --------------------------------------------------------------------------------------------------------


def _read(file: Path, uri: str) -> str | Reject:
    try:
        stored = file.read_bytes()
    except OSError as error:
        return Reject(uri, None, f"{uri}: it is listed as installed and can't be read: {error.strerror}.", "")
    try:
        return stored.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"it is not valid UTF-8: byte {error.start + 1} of the file is \\x{stored[error.start]:02x}"
        return Reject(uri, 1, f"{uri}: {reason}.", excerpt(stored))


def _parse(file: Path, uri: str) -> ast.Module | Reject | None:
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escapes
            return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = f"it can't be parsed as Python {platform.python_version()} ({error.__class__.__name__}: {error})"
        return Reject(uri, getattr(error, "lineno", None), f"{uri}: {reason}.", "")
    except OSError as error:
        return Reject(uri, None, f"{uri}: it is listed as installed and can't be read: {error.strerror}.", "")


def docstrings(tree: ast.Module) -> Docstrings:
    r"""Find the docstrings of at least 20 words, as (line of the definition, dotted name, text), in source order.

    >>> source = f"class A:\n    def f(self):\n        '{'word ' * 20}'"
    >>> [(line, name) for line, name, _ in docstrings(ast.parse(source))]
    [(2, 'A.f')]
    """
    todo: list[tuple[str, Any]] = [("", tree)]
    while todo:
        name, node = todo.pop()
        text = ast.get_docstring(node)
        if text and len(text.split()) >= _MIN_DOCSTRING_WORDS:
            yield getattr(node, "lineno", 1), name, text
        inner = [(f"{name}.{one.name}".lstrip("."), one) for one in _definitions(node.body)]
        todo.extend(reversed(inner))


def _definitions(body: Iterable[ast.stmt]) -> Iterator[Any]:
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement
        elif isinstance(statement, ast.If | ast.Try):  # definitions that depend on the platform
            yield from _definitions(statement.body)
            yield from _definitions(statement.orelse)


def _topics(tree: ast.Module) -> Docstrings:
    """Find the topics of the language reference in pydoc_data/topics.py, one dict of name to text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield key.lineno, str(key.value), value.value


# --- rows -----------------------------------------------------------------------------------------------------------


def _part(part: str, installed: Sequence[Package], max_records: int | None) -> Iterator[Item | Reject]:
    if part == "descriptions":
        return descriptions(installed)
    if part == "licences":
        return licences(installed)
    if part == "stdlib":
        return stdlib()
    of_a_sample = math.ceil(max_records * _SAMPLE_PER_DISTRIBUTION) if max_records else _MAX_DOCSTRINGS
    return modules(installed, min(_MAX_DOCSTRINGS, of_a_sample))


def _order(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def sample(items: Sequence[Item], max_records: int) -> list[Item]:
    """Take at most `max_records`, each part keeping its share (largest remainders), in their order.

    Which ones is decided by a hash of their ids: the choice is the same on every machine with the same packages, and
    one more package changes it little.
    """
    if len(items) <= max_records:
        return list(items)
    by_part: dict[str, list[Item]] = {}
    for item in items:
        by_part.setdefault(item.part, []).append(item)
    exact = {part: max_records * len(of) / len(items) for part, of in by_part.items()}
    share = {part: math.floor(quota) for part, quota in exact.items()}
    by_remainder = sorted(exact, key=lambda part: share[part] - exact[part])
    for part in by_remainder[: max_records - sum(share.values())]:
        share[part] += 1
    chosen = {
        item.id for part, of in by_part.items() for item in sorted(of, key=lambda item: _order(item.id))[: share[part]]
    }
    return [item for item in items if item.id in chosen]


def rows(parts: Sequence[str], max_records: int | None, notes: list[str]) -> Iterator[Record | Reject]:
    """Read the environment, part after part, each in the order of package, file and line."""
    items: list[Item] = []
    times_seen: dict[str, int] = {}
    installed = packages()
    for part in parts:
        for item in _part(part, installed, max_records):
            if isinstance(item, Reject):
                yield item
                continue
            # The same name can be defined twice in a file (branches, property setters).
            times_seen[item.id] = n = times_seen.get(item.id, 0) + 1
            items.append(item if n == 1 else item._replace(id=f"{item.id}#{n}"))
    kept = sample(items, max_records) if max_records else items
    if len(kept) < len(items):
        notes.append(f"{PATH}: a sample of {len(kept):,} of its {len(items):,} records, each part with its share.")
    for item in kept:
        try:
            refuse_unstorable(item.text)
        except Unusable as error:
            yield Reject(item.uri, item.row, f"{item.uri}, line {item.row}: {error}.", excerpt(item.text))
        else:
            yield _record(item)


def _record(item: Item) -> Record:
    label = LICENCE if item.part == "licences" else DOCUMENTATION
    original = {
        "package": item.package,
        "version": item.version,
        "file": item.uri.split("/", 2 if item.part in ("licences", "descriptions", "modules") else 1)[-1],
        "object": item.object,
        "licence": item.license,
        "part": item.part,
        "text": item.text,
    }
    return Record(
        *(item.id, True, item.uri, item.row, "document", item.text, label, item.license, None),
        as_json(original),
    )

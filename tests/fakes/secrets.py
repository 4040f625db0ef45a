"""Secrets on disk: as plain files, and as the kubelet mounts them."""

import shutil
from pathlib import Path


def put(folder: Path, name: str, **values: str | bytes) -> Path:
    """Write each key of a Secret in one rename."""
    mounted = folder / name
    mounted.mkdir(exist_ok=True)
    for key, value in values.items():
        fresh = mounted / f".{key}.new"
        fresh.write_bytes(value.encode() if isinstance(value, str) else value)
        fresh.rename(mounted / key)
    return mounted


class Mounted:
    """A Secret as a kubelet mounts it: keys are links through `..data`, which is exchanged as a whole."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self.path.mkdir()
        self._version = 0

    def put(self, **values: str) -> None:
        """Exchange all keys at once, and take the last version away."""
        self._version += 1
        fresh = self.path / f"..version_{self._version}"
        fresh.mkdir()
        for key, value in values.items():
            (fresh / key).write_text(value)
        (self.path / "..data_tmp").symlink_to(fresh.name)
        (self.path / "..data_tmp").rename(self.path / "..data")
        for key in values:
            if not (self.path / key).is_symlink():
                (self.path / key).symlink_to(f"..data/{key}")
        shutil.rmtree(self.path / f"..version_{self._version - 1}", ignore_errors=True)

"""Hydra made ready to compose: search path, resolvers, our launchers instead of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

CONF = Path(__file__).resolve().parents[2] / "conf"


VERSION = "1.3"  # of Hydra, whose defaults apply


_NOTHING = object()


class ConfigDir(SearchPathPlugin):
    """Puts the folder of ``--config-dir`` behind ``conf/`` on Hydra's search path."""

    folder: ClassVar[Path | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra as it starts."""
        if self.folder is not None:
            search_path.append("command-line", f"file://{self.folder}")


def start_anew(config_dir: Path | None = None) -> None:
    """Makes Hydra ready to start: none runs yet, and its own launchers do not stand in for ours.

    Hydra would hold our settings against the schemas of launcher plug-ins of the same names, which
    have others.

    Args:
        config_dir: a folder to search behind ``conf/``.
    """
    GlobalHydra.instance().clear()
    plugins = Plugins.instance()  # finds what is installed and lets it register
    if ConfigDir not in plugins.discover(SearchPathPlugin):
        plugins.register(ConfigDir)
    ConfigDir.folder = config_dir
    registered = ConfigStore.instance().repo.get("hydra", {}).get("launcher", {})
    for path in (CONF / "hydra" / "launcher").glob("*.yaml"):
        registered.pop(path.name, None)


def of_hydra(key: str, *, _root_: DictConfig) -> Any:
    """``${hydra:KEY}``, which is an error where only a running Hydra knows the value."""
    found = OmegaConf.select(_root_, f"hydra.{key}", default=_NOTHING)
    if found is _NOTHING:
        raise KeyError(f"hydra.{key} has no value here")
    return found

"""Registers the layers as soon as Keras is imported, without importing Keras itself."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def when_keras_is_imported(then: str) -> None:
    """Import the module `then` at once if Keras is loaded, otherwise right after Keras."""
    if "keras" in sys.modules:
        importlib.import_module(then)
    else:
        sys.meta_path.insert(0, _KerasFinder(then))


class _KerasFinder(MetaPathFinder):
    """Finds Keras through the other finders, and has a module imported after it."""

    def __init__(self, then: str):
        self.then = then
        self.searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # While this one searches, it asks all finders, itself too.
        if fullname != "keras" or self.searching:
            return None
        self.searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.searching = False
        if spec and spec.loader:
            spec.loader = _KerasLoader(spec.loader, self)
        return spec


class _KerasLoader(Loader):
    """Loads Keras, then the finder's module, and removes the finder and itself."""

    def __init__(self, loader: Loader, finder: _KerasFinder):
        self.loader = loader
        self.finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self.finder)
        importlib.import_module(self.finder.then)

"""Registers the layers as soon as Keras is imported, without importing Keras itself."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


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
            load = partial(self._load, spec.loader)
            spec.loader.exec_module = load  # type: ignore[method-assign]
        return spec

    def _load(self, loader: Loader, module: ModuleType) -> None:
        """Load Keras, then import the other module, and remove this finder."""
        # A loader of a ZIP archive loads other modules too.
        del loader.exec_module
        loader.exec_module(module)
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)
        importlib.import_module(self.then)

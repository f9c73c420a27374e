"""Every table of every domain, for Alembic: the models are found by their place, not listed."""

import importlib
import importlib.util
import pkgutil

import guilder.db
import guilder.domains
from guilder.db.base import metadata

__all__ = ["metadata"]

for _module in pkgutil.iter_modules(guilder.db.__path__, "guilder.db."):
    importlib.import_module(_module.name)
for _domain in pkgutil.iter_modules(guilder.domains.__path__, "guilder.domains."):
    if importlib.util.find_spec(f"{_domain.name}.models"):
        importlib.import_module(f"{_domain.name}.models")

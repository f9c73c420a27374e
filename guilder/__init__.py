"""Guilder, a bank in a box: accounts and transfers on a double-entry ledger.

Importing the package puts the bundled SQLite library in the place of the interpreter's, before
anything else can bind the old one: see ``docs/decisions/0002-sqlite-library.md``.
"""

import sys

import pysqlite3
import pysqlite3.dbapi2

__version__ = "0.1.0"

sys.modules["sqlite3"] = pysqlite3
sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2

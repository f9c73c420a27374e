"""The command ``guilder``, also as ``python -m guilder``, as servers start their processes."""

import gc

gc.disable()  # nothing imported becomes garbage: looking for it takes a seventh of a start

from guilder.cli import app  # noqa: E402

gc.enable()

if __name__ == "__main__":
    app()

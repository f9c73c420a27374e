"""``python -m guilder.cli``: the command ``guilder``, as servers start their processes."""

from guilder.cli import app

if __name__ == "__main__":
    app()

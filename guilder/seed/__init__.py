"""Banks to look at: a small believable one, and large ones for trying out size."""

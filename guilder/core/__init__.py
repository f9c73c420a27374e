"""Pure building blocks on the standard library alone; everything may import them."""

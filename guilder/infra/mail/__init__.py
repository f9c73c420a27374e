"""Mail: letters from templates, and the ways by which they go out."""

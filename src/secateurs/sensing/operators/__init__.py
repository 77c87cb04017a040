"""Linear measurements of symmetric matrices; one file per kind, none needs n d x d matrices."""

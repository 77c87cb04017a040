"""Linear measurements of symmetric matrices, one file per kind; none stores n d x d matrices."""

"""O(nnz) tensors: products on a support, streaming top-k, networks, the file format."""

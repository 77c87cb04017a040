"""Claims of the papers, sweeps over grids of cells, and the report of a run."""

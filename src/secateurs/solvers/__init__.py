"""One file per algorithm; `trainers.py` lists those that train under a weight budget."""

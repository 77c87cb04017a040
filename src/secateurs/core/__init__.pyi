__all__ = [
    "ALONE",
    "Certificate",
    "Check",
    "DamagedFileError",
    "Description",
    "Group",
    "GroupError",
    "History",
    "Iterations",
    "Progress",
    "Solution",
    "Table",
    "__version__",
    "distributed",
    "explain",
    "save_figure",
]

from .archive import DamagedFileError
from .certificate import Certificate, Check
from .description import Description, Table
from .driver import Iterations
from .figures import save_figure
from .group import ALONE, Group, GroupError, distributed
from .solution import History, Progress, Solution, explain
from .version import __version__

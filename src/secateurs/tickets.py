"""Strong lottery tickets: networks found inside random ones by masks, never trained."""

from secateurs.solvers.edge_popup import edge_popup
from secateurs.solvers.subset_sum import SubsetSum, pack_masks, subset_sum, unpack_masks
from secateurs.solvers.ticket_file import load_ticket, save_ticket
from secateurs.solvers.ticket_modules import effective_module, masked_module
from secateurs.solvers.ticket_network import Ticket, prune_network
from secateurs.solvers.ticket_report import TicketReport, verify_ticket
from secateurs.solvers.weight_pruning import PrunedWeights, prune_weights

__all__ = [
    "PrunedWeights",
    "SubsetSum",
    "Ticket",
    "TicketReport",
    "edge_popup",
    "effective_module",
    "load_ticket",
    "masked_module",
    "pack_masks",
    "prune_network",
    "prune_weights",
    "save_ticket",
    "subset_sum",
    "unpack_masks",
    "verify_ticket",
]

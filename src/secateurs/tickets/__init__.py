"""Strong lottery tickets: networks found inside random ones by masks, never trained."""

from secateurs.certificates.ticket_networks import network_certificate
from secateurs.certificates.tickets import (
    RequiredWidth,
    neuron_lower_bound,
    required_width,
    ticket_certificate,
)
from secateurs.solvers.edge_popup import edge_popup
from secateurs.solvers.neuron_selection import NeuronSubset, prune_neurons
from secateurs.solvers.subset_sum import SubsetSum, pack_masks, subset_sum, unpack_masks
from secateurs.solvers.sup_error import sup_error
from secateurs.solvers.ticket_modules import effective_module, masked_module
from secateurs.solvers.ticket_network import Ticket, prune_network
from secateurs.solvers.ticket_report import TicketReport, verify_ticket
from secateurs.solvers.weight_pruning import PrunedWeights, prune_weights
from secateurs.tickets.file import load_ticket, save_ticket

__all__ = [
    "NeuronSubset",
    "PrunedWeights",
    "RequiredWidth",
    "SubsetSum",
    "Ticket",
    "TicketReport",
    "edge_popup",
    "effective_module",
    "load_ticket",
    "masked_module",
    "network_certificate",
    "neuron_lower_bound",
    "pack_masks",
    "prune_network",
    "prune_neurons",
    "prune_weights",
    "required_width",
    "save_ticket",
    "subset_sum",
    "sup_error",
    "ticket_certificate",
    "unpack_masks",
    "verify_ticket",
]

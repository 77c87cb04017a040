__all__ = [
    "NeuronSubset",
    "PrunedWeights",
    "RequiredWidth",
    "SubsetSum",
    "Ticket",
    "TicketReport",
    "effective_module",
    "load_ticket",
    "masked_module",
    "network_certificate",
    "neuron_lower_bound",
    "pack_masks",
    "prune_network",
    "prune_weights",
    "required_width",
    "save_ticket",
    "select_neurons",
    "subset_sum",
    "sup_error",
    "ticket_certificate",
    "unpack_masks",
    "verify_ticket",
]

from .certificate import network_certificate
from .file import load_ticket, save_ticket
from .modules import effective_module, masked_module
from .network_pruning import prune_network
from .neuron.certificate import (
    RequiredWidth,
    neuron_lower_bound,
    required_width,
    ticket_certificate,
)
from .neuron.subset import NeuronSubset, select_neurons
from .neuron.sup_error import sup_error
from .subset_sums import SubsetSum, pack_masks, subset_sum, unpack_masks
from .ticket import Ticket
from .verify import TicketReport, verify_ticket
from .weight_pruning import PrunedWeights, prune_weights

"""Online learning for recurrent and spiking networks, on unmodified brainstate models."""

from importlib import metadata

from core import nn
from core.algorithms import ES_D_RTRL, IODimVjpAlgorithm, decay_from_rank, pp_prop
from core.algorithms.bptt import BPTT, CheckpointedBPTT, TruncatedBPTT
from core.algorithms.d_rtrl import D_RTRL, ParamDimVjpAlgorithm
from core.algorithms.e_prop import EProp
from core.algorithms.immediate import Immediate
from core.algorithms.otpe import OTPE
from core.algorithms.ottt import OTTT
from core.algorithms.rtrl import RTRL
from core.algorithms.snap import SnAp
from core.algorithms.uoro import UORO
from core.data import MultiStepData, SingleStepData
from core.drivers.sequence import Result, evaluate, gradient, initialise, train, window_steps
from core.drivers.streaming import Stream
from core.errors import CoreError, InvalidArgument, NotCompiled, NotRepresentable

__all__ = [
    "BPTT",
    "D_RTRL",
    "ES_D_RTRL",
    "OTPE",
    "OTTT",
    "RTRL",
    "UORO",
    "CheckpointedBPTT",
    "CoreError",
    "EProp",
    "IODimVjpAlgorithm",
    "Immediate",
    "InvalidArgument",
    "MultiStepData",
    "NotCompiled",
    "NotRepresentable",
    "ParamDimVjpAlgorithm",
    "Result",
    "SingleStepData",
    "SnAp",
    "Stream",
    "TruncatedBPTT",
    "decay_from_rank",
    "evaluate",
    "gradient",
    "initialise",
    "nn",
    "pp_prop",
    "train",
    "window_steps",
]

try:
    __version__ = metadata.version("etrace-bench")
except metadata.PackageNotFoundError:  # a checkout on the path
    __version__ = "0+unknown"

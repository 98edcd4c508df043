"""Online learning for recurrent and spiking networks, on unmodified brainstate models."""

from core import nn
from core.algorithms.bptt import BPTT, CheckpointedBPTT, TruncatedBPTT
from core.algorithms.d_rtrl import D_RTRL, ParamDimVjpAlgorithm
from core.algorithms.es_d_rtrl import ES_D_RTRL, IODimVjpAlgorithm, decay_from_rank, pp_prop
from core.algorithms.rtrl import RTRL
from core.data import MultiStepData, SingleStepData
from core.errors import CoreError, InvalidArgument, NotCompiled, NotRepresentable
from core.sequence import Result, evaluate, gradient, initialise, train

__all__ = [
    "BPTT",
    "CheckpointedBPTT",
    "CoreError",
    "D_RTRL",
    "ES_D_RTRL",
    "IODimVjpAlgorithm",
    "InvalidArgument",
    "MultiStepData",
    "NotCompiled",
    "NotRepresentable",
    "ParamDimVjpAlgorithm",
    "RTRL",
    "Result",
    "SingleStepData",
    "TruncatedBPTT",
    "decay_from_rank",
    "evaluate",
    "gradient",
    "initialise",
    "nn",
    "pp_prop",
    "train",
]

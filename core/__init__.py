"""Online learning for recurrent and spiking networks, on unmodified brainstate models."""

from core.algorithms.bptt import BPTT, CheckpointedBPTT, TruncatedBPTT
from core.algorithms.d_rtrl import D_RTRL, ParamDimVjpAlgorithm
from core.data import MultiStepData, SingleStepData
from core.sequence import Result, evaluate, gradient, initialise, train

__all__ = [
    "BPTT",
    "CheckpointedBPTT",
    "D_RTRL",
    "MultiStepData",
    "ParamDimVjpAlgorithm",
    "Result",
    "SingleStepData",
    "TruncatedBPTT",
    "evaluate",
    "gradient",
    "initialise",
    "train",
]

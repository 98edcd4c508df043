"""The columns of a results table: their order, units, meaning and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """One documented column.

    Args:
        name: the column's name in ``results.parquet``.
        unit: the unit of its numbers, "" for words and for ratios.
        title: a short heading for people.
        words: one sentence that says what it is.
        better: which direction is an improvement; None where neither is.
    """

    name: str
    unit: str
    title: str
    words: str
    better: Literal["low", "high"] | None = None


IDENTITY = (
    Column("key", "", "key", "hash of configuration, code and environment; names the record file"),
    Column("experiment", "", "experiment", "the shipped sweep this cell belongs to"),
    Column("backend", "", "backend", "library that ran the cell"),
    Column("algo", "", "algorithm", "the gradient algorithm"),
    Column("batching", "", "batching", "single, manual (batch in the state) or vmap"),
    Column("model", "", "model", "the network"),
    Column("task", "", "task", "the data and the loss"),
    Column("batch_size", "", "batch", "sequences in one training step, B"),
    Column("n_hidden", "", "width", "hidden neurons in one layer, H"),
    Column("n_layers", "", "layers", "recurrent layers"),
    Column("n_steps", "", "steps", "time steps in one sequence, T"),
    Column("device", "", "device", "cpu or gpu"),
    Column("seed", "", "seed", "seed of weights and data"),
    Column("repeat", "", "repeat", "which fresh process of the same cell"),
    Column("status", "", "status", "ok, skipped, oom, timeout, crashed or invalid"),
    Column("reason", "", "reason", "why the status is not ok, or what to know about the cell"),
    Column("health", "", "health", "a warning about the training itself; empty when there is none"),
)  # fmt: skip

METRICS = (
    Column("step_time_ms", "ms", "step time",
           "median time of one training step: forward, gradient and update of one batch", "low"),
    Column("timesteps_per_s", "1/s", "time steps per second",
           "batch size times steps divided by the step time", "high"),
    Column("sequences_per_s", "1/s", "sequences per second",
           "batch size divided by the step time", "high"),
    Column("trace_s", "s", "trace", "time to trace the program to a jaxpr", "low"),
    Column("lower_s", "s", "lower", "time to lower the jaxpr", "low"),
    Column("compile_s", "s", "compile", "time of XLA's compilation", "low"),
    Column("first_call_s", "s", "first call", "first call after compilation", "low"),
    Column("memory_xla_mib", "MiB", "memory by XLA",
           "arguments + outputs + temporaries - aliases of the compiled step", "low"),
    Column("memory_temp_mib", "MiB", "temporaries", "XLA's temporaries alone", "low"),
    Column("memory_peak_mib", "MiB", "peak memory",
           "measured rise of the process's peak over one step, or of the device's", "low"),
    Column("etrace_mib", "MiB", "eligibility traces",
           "bytes carried as traces, by shape; none where one window is the sequence", "low"),
    Column("flops_per_step", "", "operations per step",
           "floating-point operations of one training step, scans counted through", "low"),
    Column("limit_ratio", "", "times the floor",
           "step time over this machine's own floor for that work", "low"),
    Column("loss_first", "", "first loss", "mean training loss of the first epoch"),
    Column("loss_final", "", "final loss", "mean training loss of the last epoch", "low"),
    Column("accuracy", "", "accuracy", "share of right answers on the training data", "high"),
    Column("grad_cosine", "", "gradient cosine",
           "cosine between this gradient and BPTT's on the same batch", "high"),
    Column("grad_rel_error", "", "gradient error",
           "norm of the difference from BPTT's gradient over BPTT's norm", "low"),
    Column("grad_norm", "", "gradient norm", "norm of the gradient before clipping"),
    Column("firing_rate", "", "firing rate", "spikes per neuron and step"),
)  # fmt: skip

EXTRA_METRICS = (
    Column("test_accuracy", "", "test accuracy", "share of right answers on held-out data", "high"),
    Column("time_to_target_s", "s", "time to target",
           "training time, evaluation excluded, until the target loss", "low"),
    Column("n_compilations", "", "compilations",
           "XLA compilations up to the end of the first step", "low"),
    Column("calls_per_step", "", "calls per step",
           "compiled calls of the gradient in one training step: 1, or one a sample", "low"),
    Column("window_steps", "", "steps per window",
           "steps computed at once, traces carried in between; none where all are"),
    Column("n_weights", "", "weights", "trained numbers of the network"),
    Column("n_classes", "", "classes", "classes of the task; guessing is right once in as many"),
    Column("step_time_mean_ms", "ms", "mean step time", "mean of single steps, pauses included"),
    Column("step_time_iqr_ms", "ms", "step time spread", "interquartile range of single steps"),
    Column("warmup_steps", "", "warm-up steps", "steps before the timing, not counted"),
    Column("timed_steps", "", "timed steps", "steps that the median is taken over"),
    Column("steady", "", "steady", "1 when the warm-up ended because times had become steady"),
    Column("shared_with", "", "timed beside",
           "most other cells seen on the same device while this one was timed"),
    Column("step_time_low_ms", "ms", "undisturbed step time", "lowest decile of single steps"),
    Column("other_cores", "", "others' cores", "cores that other programs used meanwhile"),
    Column("involuntary_switches_per_s", "1/s", "lost cores",
           "times a second that a thread had to give up its core while the step was timed"),
    Column("cpu_per_wall", "", "cores used", "seconds on a core in a timed second"),
    Column("cpu_pressure", "", "cores waited for", "share of the time in which somebody waited"),
    Column("paired_rounds", "", "rounds", "turns that the step and BPTT's took each"),
    Column("moved_bytes_per_step", "B", "data moved", "arguments and outputs of a step's programs"),
    Column("time_vs_bptt", "", "time over BPTT's",
           "step time over BPTT's, timed by turns in the same process", "low"),
    Column("time_vs_bptt_low", "", "its lower end", "of its interval within the process"),
    Column("time_vs_bptt_high", "", "its upper end", "of its interval within the process"),
    Column("floor_ms", "ms", "floor",
           "this machine's least time for the step's products or for moving its data", "low"),
    Column("target_loss", "", "target loss", "the loss that time_to_target_s waits for"),
    Column("validation_loss", "", "validation loss", "on data kept apart to choose by", "low"),
    Column("validation_accuracy", "", "validation accuracy",
           "share of right answers on data kept apart to choose by", "high"),
    Column("target_accuracy", "", "target accuracy",
           "the validation accuracy that steps_to_target waits for"),
    Column("n_test", "", "test sequences", "held-out sequences that test_accuracy is a share of"),
    Column("steps_to_target", "", "steps to target",
           "training steps up to the target accuracy; empty for a miss", "low"),
    Column("bytes_per_step", "B", "bytes per step",
           "bytes that the step's matrix products read and write", "low"),
)  # fmt: skip

# No metric: what to know of one.
CONTENDED = Column("contended", "", "contended", "1 where other programs took part of the machine")

# What a seed decides alone: further processes of one seed give the same number again.
SEEDED = frozenset({"loss_first", "loss_final", "accuracy", "test_accuracy", "grad_cosine",
                    "grad_rel_error", "grad_norm", "firing_rate"})  # fmt: skip
# Metrics that may be recorded as true and false.
FLAGS = frozenset({"contended", "steady"})
# Shares and cosines, whose intervals end where their values do.
BOUNDS = {"accuracy": (0.0, 1.0), "test_accuracy": (0.0, 1.0), "grad_cosine": (-1.0, 1.0)}

# Settings that make two cells different experiments; seed and repeat are replications of one.
SETTINGS = ("backend", "algo", "batching", "model", "task", "batch_size", "n_hidden", "n_layers",
            "n_steps", "device")  # fmt: skip
REPLICATION = ("seed", "repeat")
WHOLE = ("batch_size", "n_hidden", "n_layers", "n_steps", *REPLICATION)  # numbers
SIZES = ("n_steps", "n_hidden", "batch_size")
SYMBOLS = {"batch_size": "B", "n_hidden": "H", "n_steps": "T"}
# What a paper calls the values of settings.
NAMES = {
    "bptt": "BPTT", "bptt_checkpointed": "checkpointed BPTT", "bptt_truncated": "truncated BPTT",
    "immediate": "within a step",
    "d_rtrl": "D-RTRL", "es_d_rtrl": "ES-D-RTRL", "rtrl": "RTRL", "gru": "GRU",
    "lif_net": "LIF network", "lif_snn": "LIF layers", "manual": "by hand", "vmap": "vmap",
}
# The settings of a way of computing; the others say what is computed.
WAYS = ("algo", "batching", "backend")
HELD = [s for s in SETTINGS if s not in WAYS]

BY_NAME: dict[str, Column] = {c.name: c for c in (*IDENTITY, *METRICS, *EXTRA_METRICS, CONTENDED)}
CONTRACT: tuple[str, ...] = tuple(c.name for c in (*IDENTITY, *METRICS))


def describe(name: str) -> Column:
    """The documentation of a column; columns nobody documented describe themselves."""
    return BY_NAME.get(name) or Column(name, "", name.replace("_", " "), "recorded by this sweep")


def heading(name: str) -> str:
    """A heading with its unit, such as "step time (ms)"."""
    column = describe(name)
    return f"{column.title} ({column.unit})" if column.unit else column.title

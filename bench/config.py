"""The configuration of a cell: every setting by name, with what it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Annotated, Any, Literal, get_type_hints

from bench.bounds import LARGEST, Count, NotNegative, Positive, Range

# ``_target_: package.module.Name`` and the arguments of its constructor.
Node = dict[str, Any]

# Each is a process, and a row; a CPU makes a device of its own for each.
MAX_REPEATS, MAX_DEVICES = 10_000, 1024
# Of a larger one jax takes the lowest 32 bits, so that two seeds would give the same weights.
MAX_SEED = 2**32 - 1
Seed = Annotated[int, Range(0, MAX_SEED)]


@dataclass(frozen=True)
class Batching:
    """How a batch is computed."""

    mode: Literal["manual", "vmap", "single"]


@dataclass(frozen=True)
class Device:
    """Where a cell runs."""

    platform: Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Limits:
    """What a cell may take: wall-clock seconds and GiB; None for 80 % of the machine's memory."""

    deadline_s: Annotated[float, Range(0, 1e9, above=True)]
    memory_gib: Annotated[float, Range(0, 1e6, above=True)] | None


@dataclass(frozen=True)
class Config:
    """The composed configuration of a cell; ``conf/config.yaml`` says what each setting means."""

    algo: Node
    batching: Batching
    model: Node
    task: Node
    backend: Node
    device: Device
    metric: dict[str, Node]
    plot: dict[str, Node]
    experiment: str | None
    question: str
    batch_size: Count
    n_hidden: Count
    n_layers: Count
    n_steps: Count
    seed: Seed
    repeats: Annotated[int, Range(1, MAX_REPEATS)]
    update_every: Count | Literal["sequence"]
    tune: dict[str, Any]
    epochs: Count
    loss_after: Annotated[int, Range(0, LARGEST)] | Annotated[float, Range(0, 1)]
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"]
    lr: Positive
    weight_decay: NotNegative
    rate_penalty: NotNegative
    rate_target: NotNegative
    clip_norm: Positive
    dtype: Literal["float32", "float64"]
    devices: Annotated[int, Range(1, MAX_DEVICES)]
    threads: Annotated[int, Range(1, MAX_DEVICES)] | None
    out: str | None
    plan: bool
    report: bool
    resume: bool | Literal["retry"]
    python: str | None
    limits: Limits

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Config:
        """From the dictionaries that ``plain`` gave."""
        built = {k: HINTS[k](**v) for k, v in plain.items() if is_dataclass(HINTS[k])}
        return cls(**{**plain, **built})

    @property
    def left_out(self) -> int:
        """Steps at the beginning of a sequence that the loss does not ask for."""
        if isinstance(self.loss_after, int):
            return self.loss_after
        return round(self.loss_after * self.n_steps)

    def plain(self) -> dict[str, Any]:
        """As dictionaries, for files and other processes."""
        return asdict(self)


HINTS: dict[str, Any] = get_type_hints(Config, include_extras=True)

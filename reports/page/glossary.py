"""The words of a report that not every reader knows, once, at its bottom."""

GLOSSARY = (
    (
        "BPTT",
        "backpropagation through time: the exact gradient, from the stored states of every step. "
        "bptt_checkpointed stores some and computes the rest again; bptt_truncated stops after a "
        "window.",
    ),
    (
        "D-RTRL",
        "an online algorithm: a trace of each weight's influence on its own neuron. It leaves out "
        "what reaches the loss through other neurons' recurrence.",
    ),
    (
        "ES-D-RTRL",
        "D-RTRL with the trace as a product of an input and an output factor: less memory, "
        "a further approximation.",
    ),
    (
        "trace",
        "what an online algorithm carries from step to step instead of the states of all steps.",
    ),
    (
        "window",
        "steps computed at once; the trace is carried from one to the next. The gradient does not "
        "depend on it. Where one window covers the sequence no trace is made.",
    ),
    (
        "gradient cosine",
        "cosine of the angle to BPTT's gradient on the same batch: 1 is the same direction. "
        "It is information; training decides where there was any.",
    ),
    (
        "ms per training step",
        "milliseconds for the forward pass, gradient and update of one batch of whole "
        "sequences, without tracing and compiling; not per time step.",
    ),
    (
        "way, method",
        "a way is an algorithm with its options, batching and library; a method is a way without "
        "its batching. The learning rate is tuned: each method is judged at its best.",
    ),
    (
        "manual, vmap, single",
        "the batch as an axis of the states; as jax.vmap over one sample; one sample "
        "after another.",
    ),
    (
        "setting",
        "what has to be equal before two numbers are compared: task, model, sizes, device, machine "
        "and every option that belongs to no way.",
    ),
    ("within noise", "no further apart than this machine's own scatter explains, or than 5 %."),
    (
        "significantly worse",
        "p < 0.05, paired by seed, corrected for the number of methods; from three seeds on.",
    ),
    ("chance", "what guessing gives: one over the number of classes."),
    ("Pareto front", "the ways that no other beats in both time and memory."),
)

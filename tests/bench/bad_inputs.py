"""What is refused, and a part of the sentence that says so."""

from __future__ import annotations

from tests.bench.test_compose import ALGOS

CASES = {
    "algo=drtrl": f"algo: expected one of {ALGOS}; got drtrl. Did you mean d_rtrl?",
    "batching=vmapp": "batching: expected one of manual, single, vmap; got vmapp. "
    "Did you mean vmap?",
    "batch_size=0": "batch_size: expected a whole number of at least 1; got 0. Try batch_size=64.",
    "n_hidden=1e3": "n_hidden: expected a whole number of at least 1; got 1000.0. Try n_hidden=1000.",
    "+algo=bptt": "algo: expected algo=NAME, for every cell has one; got +algo=bptt. Without the "
    "plus: algo=bptt.",
    "+metric=work": "metric: expected metric=NAME, for every cell has one; got +metric=work. "
    "Without the plus: metric=work.",
    "hydra.sweeper.params.lr=1": "hydra.sweeper.params.lr: expected a setting that is there; got lr. "
    "To add it, write +hydra.sweeper.params.lr=VALUE.",
    "n_hidden='16'": "n_hidden: expected a whole number of at least 1; got the text '16'. Try "
    "n_hidden=64.",
    "n_hidden=": "n_hidden: expected a whole number of at least 1; got nothing. Try n_hidden=64.",
    "+batchsize=4": "weight_decay; got batchsize. Did you mean batch_size?",
    "algo=bptt algo.decay_or_rank=0.9": "algo.decay_or_rank: expected no hyperparameter; got "
    "decay_or_rank. It belongs to es_d_rtrl: another command with the same out= puts both in one "
    "report.",
    "algo.windw=4": "got windw. Did you mean window?",
    "+model.tau_me=4": "got tau_me. Did you mean tau_mem?",
    "+algo.model=3": "trace_dtype, window; got model.",
    "+model.n_in=3": "got n_in.",
    "+task.seed=3": "task.seed: expected one of n_test, steps_multiple_of; got seed.",
    "algo.window=[1]": "algo.window: expected a whole number, or text; got [1].",
    "metric.timing.budget=3": "metric.timing.budget: expected one of against, budget_s, "
    "ci_width, least_s, max_samples, min_samples, steady_within, "
    "warmup_s; got budget. Did you mean budget_s?",
    "n_steps=9": "n_steps: expected a multiple of 8 on digits; got 9. Try n_steps=8.",
    "loss_after=8": "loss_after: expected less than all n_steps=8; got 8. "
    "Use loss_after=0.75 for a loss on the last quarter.",
    "loss_after=2.5": "loss_after: expected a whole number of at least 0, or a number of at most 1; "
    "got 2.5. Try loss_after=0.",
    "optimizer=Adam": "optimizer: expected one of adam, adamw, rmsprop, sgd; got Adam. "
    "Did you mean adam?",
    "update_every=9": "update_every: expected at most n_steps=8; got 9. "
    "Use update_every=sequence for one update a sequence.",
    "update_every=sequnce": "update_every: expected a whole number of at least 1, or sequence; got sequnce. Did "
    "you mean sequence?",
    "n_hidden=100000000000000000000": "n_hidden: expected a whole number of at most 2147483647; got 100000000000000000000. "
    "Try n_hidden=64.",
    "repeats=1000000000": "repeats: expected a whole number of at most 10000; got 1000000000. Try repeats=1.",
    "devices=1025": "devices: expected a whole number of at most 1024; got 1025. Try devices=1.",
    "limits.memory_gib=1e300": "limits.memory_gib: expected a number of at most 1000000, or null; got 1e+300. Try "
    "limits.memory_gib=1.",
    "metric.timing.max_samples=1"
    + 400 * "0": "metric.timing.max_samples: expected a whole number of at most 2147483647; got 1"
    + 400 * "0"
    + ". Try metric.timing.max_samples=500.",
    "lr=1" + 400 * "0": "lr: expected a number of at most 1.79769e+308; got 1"
    + 400 * "0"
    + ". Try lr=0.001.",
    "seed=4294967296": "seed: expected a whole number of at most 4294967295; got 4294967296. "
    "Try seed=0.",
    "backend=braintrace backend.chunk=-3": "backend.chunk: expected a whole number of at least 1, "
    "or null; got -3. Try backend.chunk=1.",
    "model.tau_mem=-3": "model.tau_mem: expected a number above 0; got -3. Try model.tau_mem=5.0.",
    "metric.timing.max_samples=10": "metric.timing: min_samples: expected at most max_samples=10; "
    "got 15. Lower min_samples or raise max_samples.",
    "metric.timing._target_=collections.OrderedDict": "metric.timing: expected a subclass of "
    "bench.metrics.base.Metric; got collections.OrderedDict. See bench/metrics/ for some.",
    "metric.timing.against=d_rtrl": "metric.timing.against: expected one of bptt, null; got d_rtrl.",
    "task=breast_cancer": "n_steps: expected a multiple of 10 on breast_cancer; got 8. Try n_steps=10.",
    "task=delayed_match n_steps=4": "task: n_steps: expected at least 5 (4 steps that show something and a delay of 1); got "
    "4.",
    "task=delayed_match task.delay=5": "task: n_steps: expected at least 9 (4 steps that show something and a delay of 5); got "
    "8.",
    "task=sine n_steps=1": "task: n_steps: expected at least 2, as every wave begins at 0; got 1.",
    "task=shd": "task: path: expected a folder with shd_train.h5 and shd_test.h5; got nothing. Set "
    "task.path=DIR; the files come from https://zenkelab.org/datasets (SHD; unpack "
    "shd_train.h5.gz and shd_test.h5.gz).",
    "task=shd task.path=here": "got no shd_train.h5 in here. Set task.path=DIR; the files come from "
    "https://zenkelab.org/datasets (SHD; unpack shd_train.h5.gz and shd_test.h5.gz).",
    "task=nmnist": "task: path: expected a folder with Train/0 to Train/9 and Test/0 to Test/9; got "
    "nothing. Set task.path=DIR; the files come from "
    "https://www.garrickorchard.com/datasets/n-mnist (unpack Train.zip and Test.zip).",
    "task=nmnist task.pool=3 task.path=x": "task.pool: expected one of 1, 2, 17, 34; got 3.",
    "lr=-1": "lr: expected a number above 0; got -1. Try lr=0.001.",
    "out=[1]": "out: expected text, or null; got [1].",
    "+plot.mine._target_=no.such_module": "plot.mine: expected _target_: MODULE, one that can be "
    "found; got no.such_module. Is its folder on PYTHONPATH?",
    "plot=3": "plot: expected names of YAML files in a folder plot of your own; got 3. "
    "Give the folder around it as --config-dir.",
    "plot=[nope]": "plot: expected names of YAML files in a folder plot of your own; got "
    "['nope']. Give the folder around it as --config-dir.",
    "~plot": "configuration: expected values that Hydra can compose; got Could not delete from "
    "config. 'plot' does not exist.",
    "+plot.mine=3": "plot.mine: expected _target_: MODULE, one that can be found; got 3. "
    "Is its folder on PYTHONPATH?",
    "metric=3": "metric: expected one of agreement, fidelity, health, latency, learning, "
    "memory, timing, work; got 3.",
    "metric=[work,work]": "metric: expected each of its names once; got [work,work].",
    "rate_target=0.1": "rate_target: expected a rate_penalty above 0 beside it; got "
    "rate_target=0.1 alone. Try rate_penalty=0.1.",
    "metric=[]": "metric: expected at least one metric; got none. "
    "Leave metric= out for all of them.",
    "+metric._target_=a.B": "metric._target_: expected _target_: package.module.Name and its "
    "arguments; got a.B. Its YAML begins with # @package metric.NAME.",
    "metric.timing=null": "metric.timing: expected _target_: package.module.Name and its "
    "arguments; got None.",
    "batching=null": "batching: expected one of manual, single, vmap; got null.",
    "batching.mode=foo": "batching.mode: expected one of manual, vmap, single; got foo.",
    "+batching.foo=3": "batching.foo: expected mode; got foo.",
    "~batching.mode": "batching.mode: expected a value; got none at all.",
    "device.platform=CPU": "device.platform: expected one of cpu, gpu; got CPU. Did you mean cpu?",
    "backend._target_=core.BPTT": "backend: expected a subclass of bench.backends.base.Backend; "
    "got core.BPTT. See bench/backends/ for some.",
    "model._target_=3": "'recurrent_gain': 1.0, 'tau_spread': 0.0}.",
    "+backend.x=3": "backend.x: expected no hyperparameter; got x.",
    "task.steps_multiple_of=4": "task.steps_multiple_of: expected 8; got 4.",
    "~task._target_": "got {'steps_multiple_of': 8, 'n_test': 360}.",
    "seed=[0,1]": "seed: expected a whole number of at least 0; got [0, 1]. To sweep over them: -m "
    "seed=0,1.",
    "tune.seeds=[1,2]": "tune.seeds: expected a whole number of at least 1; got [1, 2]. Try "
    "tune.seeds=5.",
    "~lr": "lr: expected a value; got none at all.",
    "~experiment": "got Could not delete 'experiment'. No match in the defaults list.",
    "cases=3": "cases: expected a list of overrides; got 3.",
    "hydra=3": "hydra: expected hydra.KEY=VALUE; got hydra=3.",
    "hydra.launcher=3": "hydra.launcher: expected settings; got 3.",
    "experiment=quick,gate": "experiment: expected one value for the whole sweep; got quick,gate.",
    "report=maybe": "report: expected one of true, false; got maybe.",
    "python=no-such-python": "python: expected a Python interpreter; got no-such-python. "
    "Give the path of the python in a virtual environment.",
    "metric=work metric.latency.steps=10": "metric.latency: expected work; got latency. "
    "Choose it first, with metric=[...,latency].",
    "task.n_batches=2": "task.n_batches: expected one of n_test, steps_multiple_of; got n_batches. "
    "It belongs to copy_memory, delayed_match, integrator, random_spikes, sine, stream: another "
    "command with the same out= puts both in one report.",
    "task.zzz=2": "task.zzz: expected one of n_test, steps_multiple_of; got zzz. "
    "If bench.tasks.digits.Digits takes it, write +task.zzz=VALUE.",
    "limits.deadline=3": "limits.deadline: expected one of deadline_s, memory_gib; got deadline. "
    "Did you mean deadline_s?",
    "limits.deadline_s=-3": "limits.deadline_s: expected a number above 0; got -3. Try limits.deadline_s=1.",
    "algo=bptt,d_rtrl": "algo: expected one value for a single cell; got bptt,d_rtrl. "
    "Add -m to sweep over several.",
    "+hydra.launcher.jobs=2": "hydra.launcher.jobs: expected a launcher that has it; got the basic "
    "one, which has no settings. Try hydra/launcher=processes.",
    "-m tune.trials=2,3": "tune.trials: expected one value for the whole sweep; got 2, 3. Start a "
    "command for each.",
    "-m hydra/launcher=basic,x": "hydra/launcher: expected one value for the whole sweep; got basic,x.",
    "hydra/launcher=processes hydra.launcher.job=3": "got job. Did you mean jobs?",
    "hydra/launcher=processes hydra.launcher.jobs=many": "hydra.launcher.jobs: expected a whole number "
    "of at least 1; got many. Try hydra.launcher.jobs=1.",
    "-m batch_size=16,0": "batch_size: expected a whole number of at least 1; got 0. Try batch_size=64.",
    "-m out=a,b": "out: expected one value for the whole sweep; got a, b. Start a command for each.",
    "-m report=true,false": "got True, False. Start a command for each.",
    "--config-dir nowhere": "--config-dir: expected a folder of YAML files; got nowhere.",
    "hydra/launcher=submitit_slrm": "got submitit_slrm. Did you mean submitit_slurm?",
    "=3": "argument: expected KEY=VALUE; got =3. See python -m bench --help.",
    "quick": "argument: expected KEY=VALUE; got quick. Did you mean +experiment=quick?",
    "größe=3": "argument: expected KEY=VALUE that Hydra can read; got größe=3. Special characters "
    "need Hydra's quotes beside the shell's: KEY=\"'VALUE'\".",
    "algo=": f"algo: expected one of {ALGOS}; got nothing.",
    "--drtrl": "argument: expected KEY=VALUE; got --drtrl. See python -m bench --help.",
    "+experiment=quik": "Did you mean quick?",
    "batchsize=4": "got batchsize. Did you mean batch_size?",
}

"""One of the processes that share distillations; started by `torch.distributed.run`.

Runs the plans in a folder one after the other (student, teacher, traces, settings, `shard`) and
writes what this process ended with.
"""

import copy
import json
import sys
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_model
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from distillscale.distillation import DistillationSettings, distill
from distillscale.tasks.records import read_records
from distillscale.tasks.trace import Trace
from distillscale.teachers.online import OnlineTeacher


class KilledError(Exception):
    pass


def kill(after: float, share: float) -> None:
    if share > after:
        raise KilledError


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    traces = read_records(folder / "traces.parquet", Trace)
    teacher = AutoModelForCausalLM.from_pretrained(folder / "teacher")
    for name, plan in json.loads((folder / "plans.json").read_text()).items():
        student = AutoModelForCausalLM.from_pretrained(folder / "student")
        run = partial(
            distill,
            traces=traces,
            settings=DistillationSettings(**plan["settings"]),
            teacher_logits=OnlineTeacher(teacher, traces, 0),
            pad_id=0,
            work_dir=folder / "work" / name,
            shard=plan["shard"],
        )
        if plan.get("killed_at"):
            kill_at = partial(kill, plan["killed_at"])
            with suppress(KilledError):
                run(copy.deepcopy(student), progress=kill_at)
        if plan.get("only_killed"):
            continue
        told: list[float] = []
        done = run(student, progress=told.append)
        end = f"{name}-{torch.distributed.get_rank()}"
        save_model(done.model, folder / f"{end}.safetensors")
        sharded = any(isinstance(weight, DTensor) for weight in student.parameters())
        record = asdict(done.log) | {"sharded": sharded, "began": told[0]}
        (folder / f"{end}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

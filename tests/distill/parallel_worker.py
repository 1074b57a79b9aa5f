"""What each process of the DataParallel test runs: a few steps, then a line of facts."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import paddle
from test_distill_model import Adapted
from toy import ToyDetector, toy_batch

from ppkd.distill import DistillModel, FrozenTeacher
from ppkd.utils import processes


def digest(layer) -> str:
    return hashlib.sha256(b"".join(t.numpy().tobytes() for _, t in sorted(layer.state_dict().items()))).hexdigest()


def main(output: Path) -> None:
    paddle.distributed.init_parallel_env()
    rank = paddle.distributed.get_rank()
    paddle.seed(0)
    student, teacher = ToyDetector(), ToyDetector(channels=6)
    loss = Adapted(student.spec(), teacher.spec())
    model = DistillModel(student, FrozenTeacher(teacher, loss.consumes), {"kd": loss})
    facts = {"teacher_before": model.teacher.fingerprint(), "adapters_before": digest(model.losses)}
    network = paddle.DataParallel(model)
    optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    for step in range(3):
        network.train()
        terms = network(toy_batch(seed=10 * step + rank))
        facts["kd"] = terms["kd"].item()
        terms["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()
    prepared = [paddle.full([3], float(rank)), paddle.full([2], rank + 5, dtype="int64")]
    processes.agree(prepared)
    facts["prepared"] = [tensor.tolist() for tensor in prepared]
    facts["teacher_after"] = model.teacher.fingerprint()
    facts["adapters_after"] = digest(model.losses)
    facts["head"] = model.student.head.weight.numpy().ravel().tolist()
    (output / f"{rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

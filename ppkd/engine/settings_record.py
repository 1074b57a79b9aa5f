"""The settings that decide what training does, as a checkpoint keeps them: what changed since is told key by key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ppkd.config import Config

HARMLESS = frozenset(
    {
        "epoch",
        "snapshot_epoch",
        "patience",
        "log_iter",
        "save_dir",
        "filename",
        "weights",
        "pretrain_weights",
        "worker_num",
        "print_flops",
        "print_params",
        "use_vdl",
        "vdl_log_dir",
        "export",
        "metric",
        "map_type",
        "EvalReader",
        "EvalDataset",
        "TestReader",
        "TestDataset",
        "preflight",
        "stop_after_non_finite",
        "use_gpu",
        "pruned",
    }
)
"""Top-level keys that change no step; ``epoch`` only says when to end."""

HARMLESS_NESTED = re.compile(
    r"slim\.(teacher|teachers\.[^.]+)(\.weights|\.onnx|\.cache\.dir|\.cache\.limit_gb)?|LearningRate\.base_batch_size"
)
"""A teacher's fingerprint tells whether it is the same, wherever its file is; the scaled rate is recorded itself."""

ABSENT = "absent"


def record_settings(cfg: Config, slim: Config | None, **facts: Any) -> dict[str, str]:
    """Every other setting by its dotted key, as json; those of ``slim`` begin with ``slim.``; ``facts`` as they are."""
    found = {key: value for name in cfg if name not in HARMLESS for key, value in leaves(cfg.to_dict()[name], name)}
    if slim is not None:
        found.update(leaves(slim.to_dict(), "slim"))
    found.update(facts)
    return {key: json.dumps(value, default=str) for key, value in found.items() if not HARMLESS_NESTED.fullmatch(key)}


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """``key: was ..., now ...`` for every key that differs, by name."""
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    return [f"{key}: was {before.get(key, ABSENT)}, now {now.get(key, ABSENT)}" for key in keys]


def leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The values in nested mappings and lists below ``key``, each with its dotted key."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from leaves(item, f"{key}.{name}")
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, f"{key}.{index}")
    else:
        yield key, value

"""Importance and pruning, ours against Model-Optimizer, Torch-Pruning and optipfair.

All work on the same tiny random Qwen3 and the same calibration tokens. Scores are compared first
where the formulas are the same (relative difference below 1e-5). Pruning goes to the same size by
every tool, asserted, and is timed with the importance that it needs. Ours leaves the model as it
was, as distillation needs it; the peers cut in place, so a copy is added to their time (without
it: `seconds_in_place`). Processor seconds of all threads, without that copy, stand beside them.
Each result is saved, loaded by plain transformers and asked for logits and for text. Times are
medians, alternating in one process. The last line is the result as JSON; it is also written to
bench/results/prune.json.
"""

import contextlib
import copy
import importlib.util
import io
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn, tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM
from transformers.utils import logging as silence

from distillscale.pruning import (
    AXIS_FIELD,
    apply_plan,
    measure_importance,
    params_of,
    plan_pruning,
    shape_of,
)
from result import save

TEXTS, TOKENS, BATCH, REPEATS = 64, 128, 8, 9
KEPT_LAYERS = 5
TOLERANCE, NOISE = 1e-5, 0.03
"""Relative differences that count as none: of scores, and of medians of times."""
LIMITS = {
    "torch_pruning, attention and hidden width": (
        "its dependency graph of a Qwen3 does not end (github.com/VainF/Torch-Pruning/issues/527)"
    ),
    "modelopt, pruning itself": "Minitron needs Megatron-Core with Transformer Engine, so CUDA",
}
"""What the peers cannot do here."""

Scores = dict[str, Tensor]
Run = Callable[[PreTrainedModel], PreTrainedModel | Scores]


def main() -> None:
    warnings.simplefilter("ignore")
    silence.set_verbosity_error()
    silence.disable_progress_bar()
    logging.disable(logging.INFO)
    torch.manual_seed(0)
    model, texts = tiny_model(), torch.randint(0, 8192, (TEXTS, TOKENS)).tolist()
    absent = missing_peers()
    figures: dict[str, object] = {}
    slower = []
    for name, (ours, peers) in comparisons(texts).items():
        runs = {"ours": ours} | {peer: run for peer, run in peers.items() if peer not in absent}
        pruning = name.startswith("prune")
        notes = same_size(model, runs) if pruning else agree(name, model, runs)
        seconds, processor, copying = alternate(model, runs)
        if pruning:
            notes["seconds_in_place"] = {
                tool: round(own, 4) for tool, own in seconds.items() if tool != "ours"
            }
            seconds = {t: own + copying * (t != "ours") for t, own in seconds.items()}
        best = min(own for tool, own in seconds.items() if tool != "ours")
        if seconds["ours"] > best * (1 + NOISE):
            slower.append(name)
        figures[name] = {
            "seconds": {tool: round(own, 4) for tool, own in seconds.items()},
            "processor_seconds": {tool: round(own, 4) for tool, own in processor.items()},
            "best_peer_over_ours": round(best / seconds["ours"], 2),
            **notes,
        }
        print(name, json.dumps(figures[name]))
    setting = f"Qwen3, 8 layers, hidden 256, 768 MLP channels; {TEXTS} texts of {TOKENS} tokens"
    save(
        "prune",
        {
            "setting": setting,
            "peers_absent": absent,
            "limits_of_peers": LIMITS,
            "figures": figures,
            "targets": {
                "best_peer_over_ours": round(1 / (1 + NOISE), 2),
                "score_difference": TOLERANCE,
            },
            "peer_is_faster_in": slower,
            "ok": not slower,
        },
    )


def comparisons(texts: list[list[int]]) -> dict[str, tuple[Run, dict[str, Run]]]:
    """What is compared: our function and the peers', each from a model to scores or a model."""
    return {
        "scores_mlp_contribution": (
            lambda m: our_channels(m, texts, "contribution"),
            {"modelopt": lambda m: modelopt_scores(m, texts, "contribution")},
        ),
        "scores_mlp_l2": (
            lambda m: our_channels(m, texts, "l2"),
            {"modelopt": lambda m: modelopt_scores(m, texts, "l2")},
        ),
        "scores_hidden": (
            lambda m: {
                "hidden": tensor(measure_importance(m, texts, 0, BATCH, axes=["hidden"]).hidden)
            },
            {"modelopt": lambda m: modelopt_scores(m, texts, "hidden")},
        ),
        "scores_layers": (
            lambda m: {
                "layers": tensor(measure_importance(m, texts, 0, BATCH, axes=["depth"]).layers)
            },
            {"optipfair": lambda m: optipfair_layers(m, texts)},
        ),
        "prune_mlp": (
            lambda m: our_pruned(m, texts, "mlp", m.config.intermediate_size // 2),
            {"torch_pruning": torch_pruning_mlp, "optipfair": optipfair_mlp},
        ),
        "prune_depth": (
            lambda m: our_pruned(m, texts, "depth", KEPT_LAYERS),
            {"optipfair": lambda m: optipfair_depth(m, texts)},
        ),
    }


# Ours


def our_channels(model: PreTrainedModel, texts: list[list[int]], criterion: str) -> Scores:
    importance = measure_importance(
        model, texts, 0, BATCH, axes=["mlp"], channel_criterion=criterion
    )
    return {"channels": tensor(importance.channels)[:, 0]}


def our_pruned(
    model: PreTrainedModel, texts: list[list[int]], axis: str, size: int
) -> PreTrainedModel:
    """MLP channels by weight magnitude (as the peers), layers by block influence."""
    shape = replace(shape_of(model.config), **{AXIS_FIELD[axis]: size})
    plan = plan_pruning(
        model.config,
        measure_importance(model, texts, 0, BATCH, axes=[axis], channel_criterion="magnitude"),
        target_params=params_of(model.config, shape),
        axes=(axis,),
        multiple=8,
    )
    return apply_plan(model, plan)


# Model-Optimizer


@torch.no_grad()
def modelopt_scores(model: PreTrainedModel, texts: list[list[int]], criterion: str) -> Scores:
    """Its hooks on the modules that its own descriptors name; means over batches, as ours.

    The model's body runs without the LM head, which no score needs (its scripts run that too).
    """
    from modelopt.torch.prune.importance_hooks import (
        IndependentChannelContributionHook,
        L2NormHook,
        LayerNormContributionHook,
    )

    layers = model.model.layers
    if criterion == "contribution":
        modules = [layer.mlp.down_proj for layer in layers]
        hooks = [IndependentChannelContributionHook(module) for module in modules]
    elif criterion == "l2":
        modules = [layer.mlp.down_proj for layer in layers]
        hooks = [L2NormHook() for _ in modules]
    else:
        modules = [layer.input_layernorm for layer in layers]
        modules += [layer.post_attention_layernorm for layer in layers]
        modules.append(model.model.norm)
        hooks = [LayerNormContributionHook(module, {}) for module in modules]
    handles = [
        # Its L2 norm is made for Megatron's [length, batch, channels].
        module.register_forward_hook(swap(hook) if criterion == "l2" else hook)
        for module, hook in zip(modules, hooks, strict=True)
    ]
    for ids in batches(texts):
        model.model(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    scores = torch.stack([hook.accumulate() for hook in hooks])
    if criterion == "l2":
        return {"channels": scores}
    scores = scores / (len(texts) // BATCH)
    return {"channels": scores} if criterion == "contribution" else {"hidden": scores.mean(0)}


def swap(hook: Callable) -> Callable:
    return lambda module, inputs, output: hook(module, (inputs[0].transpose(0, 1),), output)


# optipfair


def optipfair_layers(model: PreTrainedModel, texts: list[list[int]]) -> Scores:
    from optipfair.pruning import analyze_layer_importance

    loader = [{"input_ids": ids} for ids in batches(texts)]
    with contextlib.redirect_stdout(io.StringIO()):
        scores = analyze_layer_importance(model, loader, show_progress=False)
    return {"layers": torch.tensor([scores[layer] for layer in sorted(scores)])}


def optipfair_mlp(model: PreTrainedModel) -> PreTrainedModel:
    from optipfair.pruning import prune_model_mlp_glu

    return prune_model_mlp_glu(model, "L2", pruning_percentage=50, show_progress=False)


def optipfair_depth(model: PreTrainedModel, texts: list[list[int]]) -> PreTrainedModel:
    from optipfair.pruning import prune_model_depth

    scores = optipfair_layers(model, texts)["layers"]
    return prune_model_depth(
        model,
        layer_indices=scores.argsort()[: len(scores) - KEPT_LAYERS].tolist(),
        layer_selection_method="custom",
        show_progress=False,
    )


# Torch-Pruning


def torch_pruning_mlp(model: PreTrainedModel) -> PreTrainedModel:
    """Only the MLP channels, by group magnitude; the user sets the config."""
    import torch_pruning

    layers = model.model.layers
    kept: list[nn.Module] = [model.lm_head]
    kept += [module for layer in layers for module in (layer.self_attn, layer.mlp.down_proj)]
    pruner = torch_pruning.pruner.BasePruner(
        model,
        example_inputs=torch.arange(8)[None],
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2, group_reduction="mean"),
        pruning_ratio=0.5,
        ignored_layers=kept,
        output_transform=lambda output: output.logits.sum(),
        round_to=8,
    )
    pruner.step()
    model.config.intermediate_size = layers[0].mlp.gate_proj.out_features
    return model


# Checks and clocks


def agree(name: str, model: PreTrainedModel, runs: dict[str, Run]) -> dict[str, object]:
    """The largest relative difference of the scores."""
    wanted = runs["ours"](model)
    difference = 0.0
    for peer, run in runs.items():
        for what, scores in run(model).items():
            own = wanted[what].double()
            difference = max(difference, ((scores.double() - own) / own).abs().max().item())
            assert difference < TOLERANCE, (name, peer, what, difference)
    return {"score_difference": difference}


def same_size(model: PreTrainedModel, runs: dict[str, Run]) -> dict[str, object]:
    """The size of the results, one for all, and what plain transformers makes of each."""
    notes, sizes = {}, {}
    for tool, run in runs.items():
        pruned = run(copy.deepcopy(model)).eval()
        sizes[tool] = pruned.num_parameters()
        notes[tool] = loads(pruned)
    assert len(set(sizes.values())) == 1, sizes
    return {"loads": notes, "parameters": sizes["ours"]}


@torch.no_grad()
def loads(pruned: PreTrainedModel) -> str:
    """What plain transformers makes of the saved model."""
    ids = torch.arange(16)[None]
    try:
        wanted = pruned(input_ids=ids).logits
        with tempfile.TemporaryDirectory() as folder:
            pruned.save_pretrained(folder)
            loaded = AutoModelForCausalLM.from_pretrained(folder).eval()
        difference = (loaded(input_ids=ids).logits - wanted).abs().max().item()
        if difference > 1e-6:
            return f"loads, but its logits differ by {difference:.2g}"
        for what, model in (("in memory", pruned), ("loaded", loaded)):
            texts = [
                model.generate(ids, max_new_tokens=8, do_sample=False, use_cache=cached)
                for cached in (True, False)
            ]
            if not torch.equal(*texts):
                return f"loads, but writes another text with a cache than without ({what})"
    except Exception as error:  # whatever a peer's model does is a finding
        return f"fails: {type(error).__name__}: {str(error)[:120]}"
    return "loads, same logits, same text"


def alternate(
    model: PreTrainedModel, runs: dict[str, Run]
) -> tuple[dict[str, float], dict[str, float], float]:
    """Median seconds and processor seconds of every run, and seconds of copying.

    Each runs on a fresh copy of the model.
    """
    seconds: dict[str, list[float]] = {tool: [] for tool in (*runs, "copying")}
    processor: dict[str, list[float]] = {tool: [] for tool in runs}
    for _ in range(REPEATS):
        for tool, run in runs.items():
            started = time.perf_counter()
            own = copy.deepcopy(model)
            copied, used = time.perf_counter(), time.process_time()
            run(own)
            seconds[tool].append(time.perf_counter() - copied)
            processor[tool].append(time.process_time() - used)
            seconds["copying"].append(copied - started)
    medians, used_medians = (
        {tool: statistics.median(own) for tool, own in clock.items()}
        for clock in (seconds, processor)
    )
    copying = medians.pop("copying")
    return medians, used_medians, copying


def batches(texts: list[list[int]]) -> list[Tensor]:
    return list(torch.tensor(texts).split(BATCH))


def missing_peers() -> dict[str, str]:
    return {
        peer: f"{peer} is not installed"
        for peer in ("modelopt", "optipfair", "torch_pruning")
        if importlib.util.find_spec(peer) is None
    }


def tiny_model() -> PreTrainedModel:
    config = Qwen3Config(
        vocab_size=8192,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    return Qwen3ForCausalLM(config).eval()


if __name__ == "__main__":
    main()

"""A checkpoint's config against what vLLM reads of it.

The rules are read from the model files of vLLM 0.33.0 (`vllm/model_executor/models/`), which wants
transformers 5.16 to 5.20. Nothing here has been run on a GPU, and vLLM is never imported: it pins
a torch of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import CONFIG_MAPPING

VERSION = "0.33.0"

_ARCHITECTURES = frozenset(
    {
        "GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "GPT2LMHeadModel",
        "LlamaForCausalLM", "MistralForCausalLM", "Phi3ForCausalLM", "Qwen2ForCausalLM",
        "Qwen3ForCausalLM", "Qwen3MoeForCausalLM",
    }
)  # fmt: skip
"""Those of the supported families that vLLM has a model of its own for."""

_THROUGH_TRANSFORMERS = frozenset({"GPTNeoXForCausalLM", "Olmo2ForCausalLM", "SmolLM3ForCausalLM"})
"""vLLM runs these by the code in transformers, more slowly."""

_DERIVES_HEAD_WIDTH = frozenset({"Qwen2ForCausalLM", "GPT2LMHeadModel"})
"""Models that compute a head's width as hidden_size / num_attention_heads and never read head_dim.

`qwen2.py` line 150. Llama and Mistral read head_dim (`llama.py` line 158) and so does Phi3, which
is Llama's class; Qwen3 (`qwen3.py` line 209) and Gemma take it as an argument.
"""

_SILU_ONLY = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Phi3ForCausalLM"})
_NO_HALF = frozenset({"gemma2", "gemma3", "gemma3_text"})
_SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")
_FREE_SIZES = ("num_key_value_heads", "head_dim", "intermediate_size")
_MORE_NAMES = {"gpt2": {"intermediate_size": "n_inner"}}
"""Names of a family's own for usual ones, beyond those that its class in transformers knows."""


@dataclass(frozen=True)
class Finding:
    """One remark on a field of `config.json`; `fatal` where vLLM would fail or compute nonsense."""

    fatal: bool
    field: str
    said: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{'error' if self.fatal else 'note'}: {self.field}: {self.said}"


def check_config(config: Mapping[str, Any]) -> list[Finding]:
    """What to know before vLLM reads this config; fatal findings first.

    Args:
        config: the content of a checkpoint's `config.json`.
    """
    config = _usual_names(config)
    names = config.get("architectures")
    first = names[0] if isinstance(names, list) and names else ""
    architecture = first if isinstance(first, str) else ""
    findings = [*_architecture(architecture), *(wrong := list(_types(config)))]
    if not wrong:  # the other rules compute with these fields
        findings += [
            *_heads(config, architecture),
            *_layers(config, architecture),
            *_numbers(config, architecture),
        ]
    return sorted(findings, key=lambda finding: not finding.fatal)


def tensor_parallel_sizes(config: Mapping[str, Any], most: int = 8) -> list[int]:
    """Numbers of GPUs that one copy of the model can be spread over.

    Query heads and MLP channels must divide; K/V heads must divide, or be repeated evenly.

    Args:
        config: one that `check_config` finds nothing fatal in.
    """
    config = _usual_names(config)
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    channels = config.get("intermediate_size") or 0
    return [
        size
        for size in range(1, most + 1)
        if heads % size == 0
        and channels % size == 0
        and (groups % size == 0 if groups >= size else size % groups == 0)
    ]


def _architecture(architecture: str) -> Iterator[Finding]:
    if architecture in _THROUGH_TRANSFORMERS:
        yield Finding(
            False,
            "architectures",
            f"vLLM {VERSION} runs {architecture} by the code in transformers, more slowly.",
        )
    elif architecture not in _ARCHITECTURES:
        known = ", ".join(sorted(_ARCHITECTURES))
        yield Finding(True, "architectures", f"{architecture!r} is not one of {known}.")


def _usual_names(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config with its sizes under their usual names too (GPT-2 calls its heads `n_head`)."""
    family = config.get("model_type")
    if not isinstance(family, str) or family not in CONFIG_MAPPING:
        return config
    own_names = CONFIG_MAPPING[family].attribute_map | _MORE_NAMES.get(family, {})
    named = {usual: config.get(own) for usual, own in own_names.items()}
    return {**config, **{usual: value for usual, value in named.items() if value is not None}}


def _types(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Sizes that are no numbers, lists and tables that are none."""
    for name in (*_SIZES, *_FREE_SIZES):
        value = config.get(name)
        if isinstance(value, list):
            said = "a list; vLLM's models of these families have layers of one shape."
            yield Finding(True, name, said)
        elif not _count(value) and (name in _SIZES or value is not None):
            yield Finding(True, name, "vLLM needs this size, a whole number above 0.")
    types, rope = config.get("layer_types"), config.get("rope_parameters")
    if types is not None and not _strings(types):
        yield Finding(True, "layer_types", "not a list of names, one a layer.")
    if rope is not None and not isinstance(rope, Mapping):
        yield Finding(True, "rope_parameters", "not a table.")
    for place, table in (("rope_parameters", rope), ("rope_theta", config)):
        theta = table.get("rope_theta") if isinstance(table, Mapping) else None
        if theta is not None and (isinstance(theta, bool) or not isinstance(theta, int | float)):
            yield Finding(True, place, f"rope_theta = {theta!r} is no number.")


def _heads(config: Mapping[str, Any], architecture: str) -> Iterator[Finding]:
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    width = config.get("head_dim")
    if width is None and hidden % heads:
        yield Finding(
            True, "head_dim", f"missing, and {heads} heads do not divide the hidden width {hidden}."
        )
        return
    derived, width = hidden // heads, width or hidden // heads
    if architecture in _DERIVES_HEAD_WIDTH and (width != derived or hidden % heads):
        yield Finding(
            True,
            "head_dim",
            f"{width}, but vLLM {VERSION} computes {hidden} / {heads} for {architecture}; prune "
            "neither groups nor hidden channels of this family, or serve it by transformers.",
        )
    elif width != derived:
        yield Finding(
            False,
            "head_dim",
            f"{width}, not hidden_size / num_attention_heads = {hidden / heads:g}; vLLM {VERSION} "
            f"reads it for {architecture}, but versions of before mid-2024 did not for Llama.",
        )
    groups = config.get("num_key_value_heads") or heads
    if heads % groups:
        yield Finding(
            True, "num_key_value_heads", f"{groups} does not divide the {heads} query heads."
        )
    if width % 8 or width > 256:
        yield Finding(
            False,
            "head_dim",
            f"{width}: FlashAttention wants a multiple of 8 up to 256; vLLM falls back to Triton "
            "attention (32 and more) or FlexAttention.",
        )


def _layers(config: Mapping[str, Any], architecture: str) -> Iterator[Finding]:
    layers, types = config["num_hidden_layers"], config.get("layer_types")
    if types is not None and len(types) != layers:
        yield Finding(True, "layer_types", f"{len(types)} entries for {layers} layers.")
    if architecture == "Qwen2ForCausalLM" and len(set(types or [])) > 1:
        yield Finding(
            True,
            "layer_types",
            f"vLLM {VERSION} takes no Qwen2 with a sliding window in some layers only.",
        )


def _numbers(config: Mapping[str, Any], architecture: str) -> Iterator[Finding]:
    activation = config.get("hidden_act")
    if architecture in _SILU_ONLY and activation not in (None, "silu"):
        yield Finding(True, "hidden_act", f"{activation!r}; vLLM's {architecture} knows silu only.")
    dtype = config.get("dtype") or config.get("torch_dtype")
    if dtype == "float32":
        half = "bfloat16" if config.get("model_type") in _NO_HALF else "16 bits"
        yield Finding(
            False,
            "dtype",
            f"float32 is served in {half} unless vLLM is started with `--dtype float32`; "
            "probabilities then differ in the third digit or so.",
        )
    rope = config.get("rope_parameters") or {}
    theta = rope.get("rope_theta")
    if theta not in (None, 10000, 10000.0) and "rope_theta" not in config:
        yield Finding(
            False,
            "rope_parameters",
            f"rope_theta = {theta:g} stands here only; a vLLM on transformers 4 looks for it "
            "at the top level and would silently take 10000.",
        )


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0

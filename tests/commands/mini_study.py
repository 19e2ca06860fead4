"""A study of a few cells on the lab's shipped teacher, small enough for tests."""

STUDY = """
name: mini
dataset: {source: lab, validation: 8, test: 24, questions: 16}
pruning: {calibration_examples: 8, multiple: 4}
distillation:
  steps: 3
  batch_size: 8
  learning_rate: {logit: 0.001, lora: 0.003}
evaluation: {held_out_traces: 8, latency_examples: 2}
grids:
  - tasks: [fin-headlines]
    configurations: [logit-label, lora-cot, logit-blended, pruned-only]
    thinking: [brief]
    schedules: [{kind: uniform, stages: 2, prune_ratio: 0.3}]
    dataset_sizes: [16]
  - tasks: [support-tickets]
    configurations: [logit-label]
    schedules: [{kind: oneshot, prune_ratio: 0.4}]
    dataset_sizes: [8, 16]
"""

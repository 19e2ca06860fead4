"""A chat model's part, played by the lab: what it writes is decided by the request alone."""

import hashlib
import json
import re
from collections import Counter
from typing import Any

from fault_proxy import Reply
from replies import ok

from distillscale.lab.drafts import lab_drafts
from distillscale.lab.world import make_world

USAGE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}


class Writer:
    """Writes texts of the class that a prompt asks for; counts the answers to each prompt."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()

    def content(self, body: dict[str, Any]) -> str:
        prompt = body["messages"][-1]["content"]
        count, label = re.search(
            r"Write (\d+) different texts of the class `(\w+)`", prompt
        ).groups()
        seed = int(hashlib.sha256(f"{prompt} {body['seed']}".encode()).hexdigest()[:8], 16)
        self.answered[f"{prompt} {body['seed']}"] += 1
        drafts = lab_drafts(
            "fin-headlines", make_world(), {label: 1.0}, count=int(count), seed=0, stream=str(seed)
        )
        return json.dumps({"texts": [text for text, _ in drafts]})

    def reply(self, body: dict[str, Any]) -> Reply:
        return ok(self.content(body), usage=USAGE)

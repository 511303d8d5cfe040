"""Rules: what happens to the images of a folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from watcher.model.log_fields import Json

OutputFormat = Literal["auto", "jpeg", "png", "webp", "avif", "web"]
"""What `image.output.format` may say."""


@dataclass(frozen=True)
class OutputRule:
    """One output of a folder: the API's own objects, `store["path"]` still a template. `rendition` None is the folder's own."""

    rendition: str | None
    image: Json
    store: Json
    link: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Names what is asked for but for the source and the key: 16 hex digits, stored as metadata `rule`."""
        asked = {"image": self.image, "store": {key: value for key, value in self.store.items() if key != "path"}}
        return hashlib.sha1(canonical(asked).encode(), usedforsecurity=False).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to the images of a folder. A snapshot of the configuration: an image keeps the rule it was detected under."""

    folder: str
    root: Path
    outputs: tuple[OutputRule, ...]
    on_success: str = "keep"
    on_failure: str = "keep"
    """ "keep", "delete" or "move:/absolute/folder" """

    @property
    def keeps_originals(self) -> bool:
        """Whether nothing is ever to be done with an original."""
        return self.on_success == self.on_failure == "keep"

    def to_json(self) -> str:
        """Canonical JSON; `from_json` gives the same rule back."""
        return canonical(
            {
                "folder": self.folder,
                "root": str(self.root),
                "on_success": self.on_success,
                "on_failure": self.on_failure,
                "outputs": [
                    {"rendition": each.rendition, "image": each.image, "store": each.store, "link": each.link}
                    for each in self.outputs
                ],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Rule:
        """The rule that `to_json` wrote."""
        data = json.loads(text)
        outputs = tuple(OutputRule(**each) for each in data["outputs"])
        return cls(data["folder"], Path(data["root"]), outputs, data["on_success"], data["on_failure"])


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

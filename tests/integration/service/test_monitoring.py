"""The alert rules and the dashboard of docs/: Prometheus takes them, and they speak of metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from watcher.service.metrics import PREFIX, Metrics
from watcher.shown.figures import DaemonFigures, JournalFigures, Status
from watcher.shown.report import ApiFigures, DaemonReport, FolderState, ReceiverState

DOCS = Path(__file__).parents[3] / "docs"
DASHBOARD = json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
NAME = re.compile(rf"\b{PREFIX}\w+")


def promtool(*arguments: str | Path) -> str:
    """What it says; it must be content."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    found = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def exposed() -> set[str]:
    """The names of all series of a daemon with a folder and a receiver."""
    report = DaemonReport(
        ApiFigures("reachable"), (FolderState("products", "/srv", "watching"),), (ReceiverState("cms", "url", "cms.example"),)
    )
    metrics = Metrics("1", ["products"])
    metrics.call("fetch", 200, 0.1)
    status = Status.of(DaemonFigures("/state", 7, 0.0), report, JournalFigures(backlogs={"cms": 3}))
    text = metrics.exposition(status, alive=True, ready=True).decode()
    assert f'{PREFIX}receiver_backlog{{receiver="cms"}} 3.0\n' in text
    assert f'{PREFIX}receiver_available{{receiver="cms"}} 1.0\n' in text
    return set(re.findall(r"^(?:# TYPE )?(\w+)", text, re.MULTILINE))


def expressions() -> Iterator[str]:
    """Those of the dashboard's panels, with Grafana's variables filled in."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")


def test_promtool_takes_the_alert_rules() -> None:
    """Each with a severity, a summary, and what to do."""
    assert "SUCCESS: 12 rules found" in promtool("check", "rules", DOCS / "alerts.yml")
    text = (DOCS / "alerts.yml").read_text(encoding="utf-8")
    for word in ("- alert:", "severity:", "summary:", "description:"):
        assert text.count(word) == 12


def test_promtool_takes_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    """As rules that record them."""
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions())]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", path)


@pytest.mark.parametrize("where", ["alerts", "dashboard"])
def test_they_speak_of_metrics_that_there_are(where: str) -> None:
    """A renamed metric would leave a rule that never fires and a panel that stays empty."""
    text = (DOCS / "alerts.yml").read_text(encoding="utf-8") if where == "alerts" else " ".join(expressions())
    names = set(NAME.findall(text))
    assert names
    assert names <= exposed()


def test_the_dashboard_can_be_imported() -> None:
    """Panels have ids of their own, lie inside the grid, do not overlap, and ask the chosen data source."""
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells
        taken |= cells
        assert panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}

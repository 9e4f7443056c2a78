"""docs/operate.md leaves nothing out of what operators see: every metric, every field of /health, lines as they are."""

import re
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from agentd import budgets
from agentd.agent import Readiness
from agentd.config.schema import settings_of
from agentd.config.settings import Failover
from agentd.metrics import Metrics
from agentd.service.report import AgentHealth, HealthReport, PartHealth
from agentd.serving.breaker import Circuit
from agentd.serving.failover import Loss

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operate.md").read_text("utf-8")
(FAIL_OVER,) = re.findall(r"^## Fail-over\n(.*?)^## ", PAGE, re.M | re.S)
CODE = "\n".join(
    path.read_text("utf-8") for package in ("agentd", "providers") for path in sorted((ROOT / package).rglob("*.py"))
)


def test_every_metric_is_on_the_page() -> None:
    families = text_string_to_metric_families(generate_latest(Metrics().registry).decode())
    names = {family.name for family in families if not family.name.endswith("_created")}
    assert [name for name in names if name not in PAGE] == []


def test_every_budget_of_a_call_is_on_the_page_as_it_is() -> None:
    (table,) = re.findall(r"^### Budgets of a call\n(.*?)^```", PAGE, re.M | re.S)
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.*) \| (.*) \|$", table, re.M)
    assert rows == [(row.name, str(row.most), row.why, row.over) for row in budgets.TABLE.values()]


def test_every_field_of_the_health_page_is_on_the_page() -> None:
    agents, parts = {"default": AgentHealth(Readiness(True))}, {"ari_pump": PartHealth(True)}
    report = HealthReport(True, {"audiosocket": True}, 0, agents, 0.0, parts=parts).as_json()
    for field in (*report, *report["providers"]["default"], *report["parts"]["ari_pump"]):
        assert f'"{field}"' in PAGE


def test_every_state_of_a_circuit_and_every_cause_of_a_loss_is_explained() -> None:
    for word in (*Circuit, *Loss):
        assert f"`{word}`" in FAIL_OVER


def test_every_setting_of_fail_over_is_explained() -> None:
    for setting in settings_of(Failover):
        assert f"`{setting.name}`" in FAIL_OVER


def test_the_lines_are_those_that_are_logged() -> None:
    (table,) = re.findall(r"^### The lines\n(.*?)^### ", PAGE, re.M | re.S)
    cells = re.findall(r"^\| (`.*?) \| ", table, re.M)
    lines = [line for cell in cells for line in re.findall(r"`([^`]+)`", cell)]
    assert len(lines) > 15
    assert [line for line in lines if f'"{line}"' not in CODE] == []

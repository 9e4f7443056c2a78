"""The pages for administrators say what is so: their examples are good, and nothing is left out."""

import re
import tomllib
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import agentd.doctor
from agentd.config.schema import settings_of
from agentd.config.settings import Config
from agentd.conversation.machine import Result
from agentd.metrics import Metrics
from tests.installed import parse_config

ROOT = Path(__file__).parents[3]
CONFIGURE, OPERATE, TROUBLESHOOT = (
    (ROOT / "docs" / name).read_text("utf-8") for name in ("configure.md", "operate.md", "troubleshoot.md")
)

EXAMPLES = re.findall(r"^```toml\n(.*?)^```", CONFIGURE, re.M | re.S)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_a_configuration_is_accepted(example: str) -> None:
    raw = tomllib.loads(example)
    raw.setdefault("agents", {"default": {}})
    assert parse_config(raw, {}).agents


def test_every_table_of_the_configuration_is_described() -> None:
    for table in settings_of(Config):
        assert f"**`[{table.name}" in CONFIGURE


def test_every_value_of_agentd_result_is_explained() -> None:
    for result in Result:
        assert f"`{result}`" in CONFIGURE


def test_every_metric_that_the_page_names_exists() -> None:
    families = text_string_to_metric_families(generate_latest(Metrics().registry).decode())
    names = {family.name.removesuffix("_total") for family in families}
    named = {re.sub(r"_(total|bucket)$", "", name) for name in re.findall(r"agentd_[a-z_]+", OPERATE + TROUBLESHOOT)}
    assert named <= names


def test_every_line_of_the_doctor_is_explained() -> None:
    package = Path(agentd.doctor.__file__).parent
    source = "\n".join(path.read_text("utf-8") for path in package.glob("*.py"))
    checks = set(re.findall(r'\b(?:ok|warn|fail|skipped)\(\s*"([a-z ]+)"', source))
    checks |= set(re.findall(r'\bcheck(?:, path)? = "([a-z ]+)"', source))
    assert len(checks) > 8
    for check in checks - {"everything else", "clean-up"}:
        assert f"`{check}`" in TROUBLESHOOT, check


@pytest.mark.parametrize("page", ["configure.md", "operate.md", "troubleshoot.md"])
def test_links_between_the_pages_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([a-z]+\.md)\)", (ROOT / "docs" / page).read_text("utf-8")):
        assert (ROOT / "docs" / target).is_file(), target

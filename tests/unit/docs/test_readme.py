"""The README's commands are the ones that CI runs, and what it points at is there."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()


def test_the_readme_has_the_three_commands_that_ci_runs() -> None:
    blocks = re.findall(r"^```sh ci\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    commands = "".join(blocks).strip().splitlines()
    assert commands[1:] == ["just demo", "just test"]
    assert commands[0].startswith("python3 -m venv .venv && ")


def test_every_recipe_that_the_readme_names_exists() -> None:
    recipes = set(re.findall(r"^([a-z-]+)(?: [^:\n]*)?:(?!=)", (ROOT / "justfile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)just ([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "test", "lint", "install-host"} <= named <= recipes


def test_every_file_that_the_readme_links_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_the_project_names_no_registry_and_no_place_of_its_makers() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    forbidden = ("pypi" + ".org", "files.python" + "hosted", "/work" + "/shared", "registry.npm" + "js")
    for name in listed.stdout.splitlines():
        text = (ROOT / name).read_text(errors="replace") if (ROOT / name).is_file() else ""
        assert not [word for word in forbidden if word in text], name

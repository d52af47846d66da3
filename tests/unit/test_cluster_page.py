"""scripts/CLUSTER.md shows the settings that the tests' cluster runs with, and names what they leave to each member."""

import re
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for tests alone

from tests.cluster.members import SETTINGS, environment
from tests.cluster.network import KERNEL
from tests.service import ROOT

PAGE = (ROOT / "scripts/CLUSTER.md").read_text(encoding="utf-8")
SECTION = PAGE.split("\n## A cluster\n", 1)[1].split("\n## ", 1)[0]
BLOCKS = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)


def test_the_page_shows_the_file() -> None:
    assert BLOCKS[0] == SETTINGS.read_text(encoding="utf-8")


def test_the_page_names_what_differs_between_members() -> None:
    assert set(re.findall(r"PATRONI_\w+", SECTION)) == environment("", "", "", Path()).keys()


def test_the_page_names_the_settings_of_each_kernel() -> None:
    assert dict(re.findall(r"^(net\.[\w.]+) = (\d+)$", SECTION, re.MULTILINE)) == {
        name: str(value) for name, value in KERNEL.items()
    }


def test_two_members_are_never_primary_at_once() -> None:
    settings = yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))["bootstrap"]["dcs"]
    assert settings["loop_wait"] + 2 * settings["retry_timeout"] <= settings["ttl"]
    assert settings["synchronous_mode"] is True


def test_each_setting_that_is_judged_is_set() -> None:
    judged = re.findall(r"^\| (`.*?`) \|", SECTION, re.MULTILINE)
    names = {name for cell in judged for name in re.findall(r"`(\w+)[:`]", cell)} - {"off"}
    written = SETTINGS.read_text(encoding="utf-8")
    assert names and all(re.search(rf"^\s*{name}:", written, re.MULTILINE) for name in names)


def test_the_manifest_of_cloudnativepg_is_one() -> None:
    manifest = yaml.safe_load(BLOCKS[1])
    assert (manifest["kind"], manifest["spec"]["postgresql"]["synchronous"]["dataDurability"]) == (
        "Cluster",
        "required",
    )

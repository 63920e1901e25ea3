"""`nemcon participants check`, which plays a coordinator, on the participant and on its wrong kin.

The participant keeps every rule. Each of those that break one is found out, and the rule that is
named is the right one: docs/write-a-participant.md says what each word means.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import pytest

from conftest import EXAMPLE, HERE, Cluster, Node, binary, clean_environment, until
from wrong_participant import WRONG

PACKAGE = "type.googleapis.com/nemcon.examples.kv.v1"
WRITE = {"@type": f"{PACKAGE}.Append", "key": "x", "text": "a"}
READ = {"@type": f"{PACKAGE}.Get", "key": "x"}
REFUSED = {"@type": f"{PACKAGE}.Put", "key": "x", "value": "y", "onlyIfAbsent": True}

# Which rules have to be named, at least. What one mistake does to other rules is its own affair.
NAMED = {
    "forgets-promises": {"restart-asks", "restart-locks", "restart-promise"},
    "acknowledges-unknown-commits": {"lost-prepare"},
    "runs-twice": {"commit-again", "one-phase", "one-phase-new-attempt"},
    "prepares-after-abort": {"abort", "abort-first"},
    "ignores-floor": {"below-floor", "highest-floor"},
    "ignores-epoch": {"old-epoch", "new-epoch"},
    "answers-for-others": {"meant-for-another"},
    "lets-go-early": {"locks-held", "reader-prepares", "no-timer"},
    "says-aborted-without-knowing": {"tells-no-guess"},
}
# All stories together take some seconds; one who breaks many rules makes each of them wait.
STORIES_S = 120.0


def check(directory: Path, wrong: Optional[str] = None) -> dict[str, Any]:
    """Has a participant checked, kills it when that is asked for, and gives the report."""
    types = directory / "kv.bin"
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={EXAMPLE}"]
    subprocess.run([*protoc, f"--descriptor_set_out={types}", "kv.proto"], check=True)

    cluster = Cluster(directory)
    if wrong:
        program = [sys.executable, str(HERE / "wrong_participant.py"), f"--wrong={wrong}"]
        cluster.kv = cluster.add("kv", program)
    cluster.nodes = {"coordinator": cluster.coordinator, "kv": cluster.kv}
    try:
        cluster.start()
        return report(cluster.kv, cluster.coordinator, directory, types)
    finally:
        cluster.stop()


def report(node: Node, coordinator: Node, directory: Path, types: Path) -> dict[str, Any]:
    command = [binary("nemcon"), "participants", "check", node.url]
    command += ["--coordinator", coordinator.url, "--descriptors", str(types), "--json"]
    for flag, action in (("--write", WRITE), ("--read", READ), ("--refused", REFUSED)):
        command += [flag, json.dumps(action)]
    out, err = directory / "check.out", directory / "check.err"
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        checking = subprocess.Popen(
            command, stdout=stdout, stderr=stderr, env=clean_environment()
        )
    try:
        until(
            "a restart is asked for, or the end",
            lambda: checking.poll() is not None or "Now kill" in err.read_text(),
            STORIES_S,
        )
        if checking.poll() is None:
            node.kill()
            node.start()
        code = checking.wait(STORIES_S)
    finally:
        checking.kill()
    told = json.loads(out.read_text() or "{}")
    assert code == (1 if told.get("broken") else 0), err.read_text()
    return told


def broken(told: dict[str, Any]) -> dict[str, str]:
    return {rule["rule"]: rule["why"] for rule in told["rules"] if rule["result"] == "broken"}


def test_the_participant_keeps_every_rule(tmp_path: Path) -> None:
    told = check(tmp_path)
    assert broken(told) == {}
    # It takes part in one-shot transactions only, and its waits are not told.
    untried = {rule["chapter"] for rule in told["rules"] if rule["result"] == "not tried"}
    assert untried == {"interactive work", "waits"} and told["kept"] > 40


@pytest.mark.parametrize("wrong", WRONG)
def test_who_breaks_a_rule_is_found_out(tmp_path: Path, wrong: str) -> None:
    found = broken(check(tmp_path, wrong))
    assert NAMED[wrong] <= found.keys(), found

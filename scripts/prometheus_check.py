"""Runs the rules and the dashboard against a real cluster: see prometheus-check.sh.

The rules are taken as they are but for their times, which are made seconds, so that a
run takes a minute or two. What is waited for is a condition, with a deadline.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ["NEMCON_BIN_DIR"]).resolve()
DEADLINE_S = 90


def until(what, condition, deadline=DEADLINE_S):
    """Waits for a condition; its value, once it is true."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"after {deadline} s not yet: {what}")


def free_ports(count):
    """Free a moment ago: Prometheus and the HTTP ports cannot be asked for theirs."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def read(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


class Node:
    """A process that can be killed and started again at the same ports."""

    def __init__(self, directory, name, program, port, http, *arguments):
        self.name, self.port, self.http = name, port, http
        self.url = f"http://127.0.0.1:{port}"
        self.data = directory / name
        self.ready = directory / f"{name}.ready"
        self.log = open(directory / f"{name}.log", "ab")
        self.command = [BIN / program, "--listen", f"127.0.0.1:{port}", "--http-listen", f"127.0.0.1:{http}",
                        "--data-dir", self.data, "--ready-file", self.ready, *arguments]
        self.process = None

    def start(self, *more):
        self.ready.unlink(missing_ok=True)
        self.process = subprocess.Popen([*self.command, *more], stdout=self.log, stderr=self.log)
        until(f"{self.name} is ready", self.is_ready)

    def is_ready(self):
        if self.process.poll() is not None:
            sys.exit(f"{self.name} ended: see {self.log.name}\n{pathlib.Path(self.log.name).read_text()[-2000:]}")
        return self.ready.exists()

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def metric(self, name):
        """The sum of a metric's series there."""
        lines = read(f"http://127.0.0.1:{self.http}/metrics").splitlines()
        found = [line for line in lines if re.match(rf"{name}(\{{| )", line)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)


class World:
    """A coordinator, two banks and a Prometheus."""

    def __init__(self, directory):
        self.dir = directory
        ports = free_ports(7)
        self.coordinator = Node(directory, "coordinator", "nemcon-coordinator", ports[0], ports[1])
        of = ["--coordinator", self.coordinator.url]
        self.a = Node(directory, "bank-a", "nemcon-bank", ports[2], ports[3], "--name", "bank-a", *of)
        self.b = Node(directory, "bank-b", "nemcon-bank", ports[4], ports[5], "--name", "bank-b", *of)
        self.port = ports[6]
        self.prometheus = None
        self.load = None
        self.round = 0

    def nodes(self):
        return [self.coordinator, self.a, self.b]

    def start(self):
        for node in self.nodes():
            node.start()
        rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
        for old, new in [(r"for: \d+s", "for: 1s"), (r"seconds > 30\b", "seconds > 2"), (r"\[1m\]", "[10s]")]:
            rules, count = re.subn(old, new, rules)
            assert count, f"there is no {old} in the rules to make shorter"
        (self.dir / "rules.yml").write_text(rules)
        banks = [f"127.0.0.1:{node.http}" for node in (self.a, self.b)]
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "nemcon-coordinator",
                 "static_configs": [{"targets": [f"127.0.0.1:{self.coordinator.http}"]}]},
                {"job_name": "nemcon-participant", "static_configs": [{"targets": banks}]},
            ],
        }
        # JSON is YAML.
        (self.dir / "prometheus.yml").write_text(json.dumps(config))
        log = open(self.dir / "prometheus.log", "ab")
        self.prometheus = subprocess.Popen(
            ["prometheus", f"--config.file={self.dir}/prometheus.yml", f"--storage.tsdb.path={self.dir}/tsdb",
             f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log)
        until("three nodes are scraped", lambda: len(self.query("up == 1")) == 3)

    def query(self, expression):
        query = urllib.parse.urlencode({"query": expression})
        try:
            answer = json.loads(read(f"http://127.0.0.1:{self.port}/api/v1/query?{query}"))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        except OSError:
            return []
        return answer["data"]["result"]

    def firing(self, alert):
        return self.query(f'ALERTS{{alertname="{alert}",alertstate="firing"}}')

    def fires(self, alert):
        until(f"{alert} fires", lambda: self.firing(alert))

    def clears(self, alert):
        until(f"{alert} is over", lambda: not self.firing(alert))

    def nemcon(self, *arguments, check=True):
        command = [BIN / "nemcon", "--coordinator", self.coordinator.url, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments}: {done.returncode}: {done.stderr}")
        return done.stdout

    def pay(self, orders=2000):
        """Begins to pay from bank-a to bank-b, under orders that are new."""
        self.round += 1
        lines = ["order_id\taccount_id\tbank_to\taccount_to\tamount"]
        lines += [f"{self.round}-{it}\t{it % 50}\tbank-b\t{it % 50}\t0.01" for it in range(orders)]
        path = self.dir / f"orders-{self.round}.tsv"
        path.write_text("\n".join(lines) + "\n")
        log = open(self.dir / "replay.log", "ab")
        self.load = subprocess.Popen(
            [BIN / "nemcon", "--coordinator", self.coordinator.url, "bank", "replay", path, "--home", "bank-a",
             "--opening-balance", "100000.00", "--in-flight", "16"], stdout=log, stderr=log)

    def stop_paying(self):
        if self.load is not None:
            self.load.kill()
            self.load.wait()
            self.load = None

    def stop(self):
        self.stop_paying()
        for node in self.nodes():
            node.kill()
        if self.prometheus is not None:
            self.prometheus.terminate()
            self.prometheus.wait()

    def leave_in_doubt(self):
        """Kills bank-b in such a moment that it has promised and not heard the end.

        Which moment that is nobody can choose from outside, so it is tried until the
        coordinator says that a decision was not acknowledged.
        """
        for _ in range(20):
            self.pay()
            before = self.coordinator.metric("nemcon_transactions_total")
            until("payments are on their way",
                  lambda: self.coordinator.metric("nemcon_transactions_total") > before + 20)
            self.b.kill()
            self.stop_paying()
            # What is not decided aborts at its deadline; decisions stay.
            until("nothing runs but what is decided", lambda: self.coordinator.metric(
                "nemcon_transactions_running") <= self.coordinator.metric("nemcon_in_doubt"))
            if self.coordinator.metric("nemcon_in_doubt") > 0:
                return
            self.b.start()
        raise AssertionError("twenty kills have left nothing in doubt")


def dashboard(world):
    """Each query has an answer, once there was some of everything."""
    world.pay(500)
    until("payments have ended", lambda: world.load.poll() is not None)
    board = json.loads((ROOT / "deploy/grafana/nemcon.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(expressions) > 20, expressions
    for expression in expressions:
        asked = expression.replace("$__rate_interval", "30s")
        assert "$" not in asked, f"a variable that the check does not know: {expression}"
        until(f"an answer to {asked}", lambda asked=asked: world.query(asked), 20)


def quiet(world):
    for alert in alerts():
        until(f"{alert} is over", lambda alert=alert: not world.firing(alert))


def alerts():
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
    return re.findall(r"- alert: (\w+)", rules)


def down(world):
    world.leave_in_doubt()
    for alert in ("NemconNodeDown", "NemconParticipantDown", "NemconInDoubt"):
        world.fires(alert)
    world.b.start()
    for alert in ("NemconNodeDown", "NemconParticipantDown", "NemconInDoubt"):
        world.clears(alert)


def damage(world):
    """bank-b aborts by hand, alone, what the coordinator has decided to commit."""
    # Slow to write, so that what it was told to commit is not on its disk when it dies.
    again(world.b, "--flush-delay-ms", "300")
    world.leave_in_doubt()
    world.coordinator.kill()
    world.a.kill()
    world.b.start()
    listed = json.loads(world.nemcon("in-doubt", "list", "--at", world.b.url, "--json"))["attempts"]
    assert listed, "nothing is in doubt at bank-b"
    for attempt in listed:
        world.nemcon("in-doubt", "resolve", attempt["transactionId"], "--at", world.b.url,
                     "--abort", "--reason", "a check of the alerts")
    world.coordinator.start()
    world.a.start()
    world.fires("NemconHeuristicDamage")
    for damage in json.loads(world.nemcon("damage", "list", "--json"))["damage"]:
        world.nemcon("damage", "acknowledge", damage["transactionId"], damage["participant"])
    world.clears("NemconHeuristicDamage")


def again(node, *more):
    node.kill()
    node.start(*more)


def stuck(world):
    """A saga is beyond its pivot, and the step after that cannot be done."""
    def looks(name, action, **more):
        operation = {"participant": "bank-a", "readOnly": True,
                     "action": {"@type": f"type.googleapis.com/nemcon.bank.v1.{action}"}}
        if action == "Read":
            operation["action"]["account"] = "nobody"
        return {"name": name, "operations": [operation], **more}
    steps = [looks("sum", "Audit", pivot=True),
             looks("visit", "Read", dependsOn=["sum"], retry={"attempts": 1})]
    path = world.dir / "saga.json"
    path.write_text(json.dumps({"definition": {"label": "a visit to nobody", "steps": steps}}))
    saga = json.loads(world.nemcon("saga", "start", path, "--json"))["sagaId"]
    world.fires("NemconSagaStuck")
    world.nemcon("saga", "resolve", saga, "visit", "--done",
                 "--operator", "check", "--reason", "a check of the alerts")
    world.clears("NemconSagaStuck")


def slow(world):
    again(world.b, "--flush-delay-ms", "1500")
    world.pay()
    world.fires("NemconFlushSlow")
    world.stop_paying()
    again(world.b)
    world.clears("NemconFlushSlow")


def disk(world):
    free = world.b.metric("nemcon_disk_free_bytes")
    limit = int(free / 1.5) >> 20
    if limit > 1_048_576:
        print("SKIPPED: NemconDiskLow: this disk has more room than a limit can ask for")
        return
    again(world.b, "--free-mib-min", str(limit))
    world.fires("NemconDiskLow")
    again(world.b)
    world.clears("NemconDiskLow")


def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], cwd=ROOT / "deploy/prometheus", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def tested_alerts(_):
    """No alert without its test, its section and its runbook."""
    tests = (ROOT / "deploy/prometheus/rules_test.yml").read_text()
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
    page = (ROOT / "docs/operations.md").read_text()
    assert alerts(), "there are no alerts"
    for alert in alerts():
        fired = re.search(rf"alertname: {alert}\n +exp_alerts:\n", tests)
        cleared = re.search(rf"alertname: {alert}\n +exp_alerts: \[\]\n", tests)
        assert fired and cleared, f"rules_test.yml does not see {alert} fire and clear"
        assert f"\n## {alert}\n" in page, f"docs/operations.md has no section {alert}"
        assert f"operations.md#{alert.lower()}\n" in rules, f"{alert} names no runbook"


CHECKS = [
    ("the configuration is one", lambda _: promtool("check", "config", "prometheus.yml")),
    ("every alert fires and clears on written-down series", lambda _: promtool("test", "rules", "rules_test.yml")),
    ("every alert has a test, a page and a runbook", tested_alerts),
    ("every query of the dashboard has an answer", dashboard),
    ("nothing fires on a cluster that is well", quiet),
    ("a node that is down, and what it leaves in doubt", down),
    ("damage, until it is acknowledged", damage),
    ("a saga that is stuck, until its step is resolved", stuck),
    ("a slow log", slow),
    ("a disk with little room", disk),
    ("nothing fires in the end", quiet),
]


def main():
    directory = pathlib.Path(tempfile.mkdtemp())
    world = World(directory)
    failed = 0
    try:
        world.start()
        for name, check in CHECKS:
            began = time.monotonic()
            try:
                check(world)
                print(f"ok: {name} ({time.monotonic() - began:.0f} s)", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"FAILED: {name}: {error}", flush=True)
    finally:
        world.stop()
        if failed == 0:
            shutil.rmtree(directory)
        else:
            print(f"logs are in {directory}")
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

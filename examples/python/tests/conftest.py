"""Real processes for the tests: a coordinator, banks and the key-value store, on loopback.

The programs are in $NEMCON_BIN_DIR, by default target/debug. Whatever a test has started is gone
when it ends, however it ends.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Callable, Optional

# Before grpc is imported: the nodes are started by fork and exec, and what grpc does in between, on
# older Pythons, sometimes ends them.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import grpc
import pytest
from google.protobuf.any import pack

HERE = Path(__file__).parent
EXAMPLE = HERE.parent
sys.path[:0] = [str(EXAMPLE), str(HERE)]

import client
import shell
from nemcon.bank.v1 import bank_pb2, bank_pb2_grpc
from nemcon.v1 import admin_pb2, admin_pb2_grpc, participant_pb2, participant_pb2_grpc
from nemcon.v1 import transaction_pb2, transaction_pb2_grpc, types_pb2

# How long anything may take that needs a few messages. Generous: the programs are not optimised,
# and the machine may be busy.
SOON_S = 30.0
# What nobody answers at.
NOBODY = "http://127.0.0.1:9"


def until(what: str, look: Callable[[], Any], within_s: float = SOON_S) -> Any:
    """Looks again and again until there is something to see, and gives that."""
    deadline, seen = time.monotonic() + within_s, None
    while time.monotonic() < deadline:
        try:
            found = look()
            if found:
                return found
            seen = found
        except grpc.RpcError as error:
            seen = error
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {within_s} s; seen last: {seen}")


class Port:
    """A port that is this test's alone, also while nobody listens: a node comes back to it.

    It is reserved by a UDP socket of the same number, below the ports that outgoing connections
    get: one of those could be taken while the node is dead.
    """

    following = 20_000 + os.getpid() % 11_000

    def __init__(self) -> None:
        for _ in range(1_000):
            Port.following = Port.following + 1 if Port.following < 31_999 else 20_000
            self.reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.reservation.bind(("127.0.0.1", Port.following))
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", Port.following))
                self.number = Port.following
                return
            except OSError:
                self.reservation.close()
        raise AssertionError("no port is free")


# Nobody looks at the metrics here, and the port above a node's own may be another's.
NO_HTTP = "--http-listen=none"


class Node:
    """One node: a port and a directory, and the process that has them now."""

    def __init__(self, directory: Path, name: str, command: list[str]) -> None:
        self.directory, self.name, self.command = directory, name, command
        self.port = Port()
        self.url = f"http://127.0.0.1:{self.port.number}"
        self.ready = directory / f"{name}.url"
        self.process: Optional[subprocess.Popen] = None

    def spawn(self) -> None:
        """Starts it, and does not wait."""
        assert self.process is None, f"{self.name} runs"
        self.ready.unlink(missing_ok=True)
        command = [
            *self.command,
            f"--listen=127.0.0.1:{self.port.number}",
            f"--data-dir={self.directory / self.name}",
            f"--ready-file={self.ready}",
        ]
        with open(self.directory / f"{self.name}.out", "ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=clean_environment(),
            )

    def serving(self) -> None:
        """Waits until it serves."""

        def look() -> bool:
            assert self.process.poll() is None, f"{self.name} has ended: {self.output()}"
            return self.ready.exists()

        until(f"{self.name} serves", look)

    def start(self) -> None:
        """Starts it, and waits until it serves."""
        self.spawn()
        self.serving()

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        assert self.process.poll() is None, f"{self.name} has ended: {self.output()}"
        self.end()

    def end(self) -> None:
        """Sees to it that it does not run."""
        if self.process is not None:
            self.process.kill()  # also what is frozen
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Stops all its threads, and waits until they stand still."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        until(
            f"{self.name} is frozen",
            lambda: all(
                (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
                for task in tasks.iterdir()
            ),
        )

    def wake(self) -> None:
        """Lets it go on."""
        self.process.send_signal(signal.SIGCONT)

    def output(self) -> str:
        """What it has written, in all its lives."""
        return (self.directory / f"{self.name}.out").read_text(errors="replace")


def clean_environment() -> dict[str, str]:
    """Nothing that would change a node's settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith("NEMCON_")}


def binary(name: str) -> str:
    """A program that has been built."""
    path = Path(os.environ.get("NEMCON_BIN_DIR", EXAMPLE.parent.parent / "target" / "debug")) / name
    assert path.exists(), f"there is no {path}; build it, or set NEMCON_BIN_DIR"
    return str(path)


class Told:
    """A client's command: what it says, and how it ends."""

    def __init__(self, cluster: "Cluster", arguments: list[str]) -> None:
        command = [
            sys.executable,
            str(EXAMPLE / "client.py"),
            "--coordinator",
            cluster.coordinator.url,
        ]
        self.path = cluster.directory / f"client-{len(cluster.clients)}.out"
        with open(self.path, "wb") as output:
            self.process = subprocess.Popen(
                [*command, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        cluster.clients.append(self)

    @property
    def output(self) -> str:
        return self.path.read_text()

    @property
    def ids(self) -> list[str]:
        """The ids it has sent so far, or is about to send."""
        lines = self.output.splitlines(keepends=True)
        return [
            line.split()[1]
            for line in lines
            if line.startswith("transaction ") and line[-1] == "\n"
        ]

    def exit(self) -> int:
        """Waits for its end."""
        return self.process.wait(timeout=2 * SOON_S)


class Hold:
    """A coordinator of the test's own making, which has something prepared and takes its time. So
    a lock is held for as long as a test wants."""

    def __init__(self, cluster: "Cluster", at: str, action: Any) -> None:
        # Where nobody listens, so that it stays in doubt.
        identity, url = client.new_id(), cluster.nodes[at].url
        self.attempt = types_pb2.Attempt(coordinator=identity, epoch=1, sequence=1)
        self.header = participant_pb2.Header(
            coordinator=identity,
            epoch=1,
            floor=types_pb2.Position(epoch=1, sequence=1),
            participant_id=cluster.id_of(at),
        )
        task = participant_pb2.Task(
            attempt=self.attempt,
            transaction_id=client.new_id(),
            first_transaction_id=client.new_id(),
            remaining_ms=300_000,
            lock_wait_ms=200,
            coordinator_address=NOBODY,
        )
        work = participant_pb2.OneShotWork(operations=[types_pb2.Operation(action=pack(action))])
        self.channel = shell.dial(url)
        self.service = participant_pb2_grpc.ParticipantServiceStub(self.channel)
        request = participant_pb2.PrepareRequest(header=self.header, task=task, one_shot=work)
        self.vote = self.service.Prepare(request, timeout=SOON_S)

    def let_go(self) -> None:
        """It is as if it had never been."""
        request = participant_pb2.AbortRequest(header=self.header, attempt=self.attempt)
        self.service.Abort(request, timeout=SOON_S)
        self.channel.close()


class Cluster:
    """A coordinator, two banks and the key-value store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.coordinator = Node(directory, "coordinator", [binary("nemcon-coordinator"), NO_HTTP])
        self.nodes: dict[str, Node] = {"coordinator": self.coordinator}
        self.clients: list[Told] = []
        self.ids: dict[str, str] = {}
        for name in ("bank-a", "bank-b"):
            self.add(name, [binary("nemcon-bank"), NO_HTTP])
        self.kv = self.add("kv", [sys.executable, str(EXAMPLE / "participant.py")])

    def add(self, name: str, program: list[str]) -> Node:
        """Adds a participant, and does not start it."""
        command = [*program, f"--name={name}", f"--coordinator={self.coordinator.url}"]
        self.nodes[name] = Node(self.directory, name, command)
        return self.nodes[name]

    def start(self) -> None:
        """Starts all that does not run, and waits until everybody is known and reachable."""
        for node in self.nodes.values():
            if node.process is None:
                node.spawn()
        for node in self.nodes.values():
            node.serving()
        until(
            "everybody is registered",
            lambda: all(
                any(known.name == name and known.reachable for known in self.participants())
                for name in self.nodes
                if name != "coordinator"
            ),
        )
        self.ids.update((known.name, known.participant_id) for known in self.participants())

    def stop(self) -> None:
        """Leaves nothing behind."""
        for told in self.clients:
            told.process.kill()
            told.process.wait()
        for node in self.nodes.values():
            node.end()

    def participants(self) -> list[admin_pb2.Participant]:
        with shell.dial(self.coordinator.url) as channel:
            service = admin_pb2_grpc.AdminServiceStub(channel)
            return list(
                service.ListParticipants(
                    admin_pb2.ListParticipantsRequest(), timeout=5
                ).participants
            )

    def id_of(self, name: str) -> str:
        """The identity of a participant's data directory, which stays the same."""
        return self.ids[name]

    def client(self, *arguments: str) -> Told:
        """Starts a client's command."""
        return Told(self, list(arguments))

    def run(self, *operations: types_pb2.Operation) -> transaction_pb2.RunTransactionResponse:
        """Runs a transaction with all the patience of the client."""
        ours = client.Client(self.coordinator.url, SOON_S, keep=lambda _: None)
        try:
            return ours.run(list(operations))
        finally:
            ours.close()

    def send(self, request: transaction_pb2.RunTransactionRequest) -> Future:
        """Sends a request once, and does not wait for the answer."""
        answer: Future = Future()

        def call() -> None:
            try:
                with shell.dial(self.coordinator.url) as channel:
                    service = transaction_pb2_grpc.TransactionServiceStub(channel)
                    answer.set_result(service.RunTransaction(request, timeout=4 * SOON_S))
            except grpc.RpcError as error:
                answer.set_exception(error)

        threading.Thread(target=call, daemon=True).start()
        return answer

    def view(self, transaction_id: str) -> transaction_pb2.Transaction:
        """What the coordinator knows of a transaction."""
        with shell.dial(self.coordinator.url) as channel:
            service = transaction_pb2_grpc.TransactionServiceStub(channel)
            request = transaction_pb2.GetTransactionRequest(transaction_id=transaction_id)
            return service.GetTransaction(request, timeout=5).transaction

    def in_doubt_at(self, bank: str) -> list[str]:
        """The transactions that a bank is in doubt about."""
        with shell.dial(self.nodes[bank].url) as channel:
            service = admin_pb2_grpc.ParticipantAdminServiceStub(channel)
            attempts = service.ListInDoubt(
                admin_pb2.ListAttemptsInDoubtRequest(), timeout=5
            ).attempts
            return [attempt.transaction_id for attempt in attempts]

    def peek(self, at: str) -> int:
        """The committed balance of an account, read without waiting for its lock."""
        bank, _, account = at.partition("/")
        with shell.dial(self.nodes[bank].url) as channel:
            request = bank_pb2.GetAccountRequest(account=account, without_waiting=True)
            answer = bank_pb2_grpc.BankServiceStub(channel).GetAccount(request, timeout=5)
            return answer.account.balance_minor

    def records(self, name: str = "kv") -> list[dict]:
        """The records in a key-value store's log, as far as their lines are whole."""
        path = self.directory / name / "log"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [json.loads(line.partition(b" ")[2]) for line in lines]

    def has_promised(self, transaction_id: str) -> bool:
        """Whether the key-value store's promise is in its log."""
        return any(
            record["kind"] == "Prepared" and record["transaction"] == transaction_id
            for record in self.records()
        )


@pytest.fixture
def cluster(tmp_path: Path) -> Any:
    """A cluster that serves."""
    made = Cluster(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def patient(tmp_path: Path) -> Any:
    """A cluster whose transactions wait for their locks for as long as a test needs."""
    made = Cluster(tmp_path)
    made.coordinator.command += ["--lock-wait-ms=60000", "--timeout-ms=60000"]
    try:
        made.start()
        yield made
    finally:
        made.stop()

"""What surrounds the participant: disk, network and command line. Nothing here knows a rule.

The disk is a file of JSON lines, the network is gRPC, and there is one lock: one call at a time is
in the participant, and calls that wait in there let the others in.
"""

import argparse
import fcntl
import json
import os
import random
import signal
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Optional

import grpc
from google.protobuf.any import pack
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

sys.path.insert(0, str(Path(__file__).parent / "generated"))  # what generate.sh makes
from nemcon.v1 import admin_pb2, admin_pb2_grpc, outcome_pb2, outcome_pb2_grpc
from nemcon.v1 import participant_pb2_grpc, types_pb2

CALL_TIMEOUT_S = 1.0
REGISTER_EVERY_S = 10.0
PAUSE_FIRST_S, PAUSE_MAX_S = 0.1, 5.0
STOP_S = 2.0
# A call that waits for a lock keeps a thread, and the Commit that ends the wait needs one too: if
# none is left, everybody waits until some have waited too long.
THREADS_MAX = 256
# What a coordinator may send: a client's 4 MiB, and what is added on the way.
MESSAGE_BYTES_MAX = 8 << 20

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
# The codes that docs/errors.md gives to the reasons a participant has. All others, those of its
# business among them, travel as FAILED_PRECONDITION.
CODES = {
    "ATTEMPT_ENDED": code_pb2.ABORTED,
    "TRANSACTION_ID_REUSED": code_pb2.ALREADY_EXISTS,
}


class Refused(Exception):
    """A no. To work it is a vote or a decision, to any other message the status of the call."""

    def __init__(self, reason: str, why: str, retryable: bool = False) -> None:
        super().__init__(f"{reason}: {why}")
        self.refusal = types_pb2.Refusal(reason=reason, message=why, retryable=retryable)

    @property
    def vote(self) -> dict:
        """The no as a vote."""
        return {"vote": "VOTE_NO", "refusal": self.refusal}

    def status(self) -> grpc.Status:
        """The no as a status, with its reason where coordinators look for it."""
        info = error_details_pb2.ErrorInfo(reason=self.refusal.reason, domain="nemcon")
        info.metadata["retryable"] = "true" if self.refusal.retryable else "false"
        code = CODES.get(self.refusal.reason, code_pb2.FAILED_PRECONDITION)
        status = status_pb2.Status(code=code, message=self.refusal.message, details=[pack(info)])
        return rpc_status.to_status(status)


class Log:
    """Records, each a line: a checksum, which goes on over all lines before it, and JSON."""

    def __init__(self, path: Path) -> None:
        """Reads the log, or begins one. The process ends if it is damaged."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file, self.checksum, self.records = open(path, "a+b"), 0, []
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"log {path} refused: another process has it")
        self.file.seek(0)
        *lines, torn = self.file.read().split(b"\n")
        for number, line in enumerate(lines, 1):
            checksum, _, body = line.partition(b" ")
            self.checksum = zlib.crc32(body, self.checksum)
            if checksum != b"%08x" % self.checksum:
                sys.exit(f"log {path} refused: line {number} is damaged; nothing was changed")
            self.records.append(json.loads(body))
        # A line without its end was not forced, so nobody has been told of it.
        self.file.truncate(self.file.tell() - len(torn))
        directory = os.open(path.parent, os.O_RDONLY)
        os.fsync(directory)  # a new file is durable when its directory is
        os.close(directory)

    def append(self, record: dict) -> None:
        """Returns when the record is on disk. If that fails the process ends, and says no more."""
        body = json.dumps(record).encode()
        self.checksum = zlib.crc32(body, self.checksum)
        try:
            self.file.write(b"%08x %s\n" % (self.checksum, body))
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            # Whether it is on disk is not known now; the next start reads what is there.
            print(f"the log failed: {error}", file=sys.stderr, flush=True)
            os._exit(1)


def answered(row: Callable) -> Callable:
    """Makes a call of a row of the protocol's table."""

    def call(self: Any, request: Any, context: Optional[grpc.ServicerContext] = None) -> Any:
        with self.changed:
            try:
                return row(self, request)
            except Refused as no:
                if context is None:
                    raise
                context.abort_with_status(no.status())
            finally:
                self.changed.notify_all()  # whoever waits looks again

    return call


class Services(
    participant_pb2_grpc.ParticipantServiceServicer, outcome_pb2_grpc.OutcomeServiceServicer
):
    """What coordinators and peers call. A call that is not overridden is UNIMPLEMENTED."""


def start(target: Callable, *arguments: Any) -> None:
    """Runs something beside the calls, for as long as the process lives."""
    threading.Thread(target=target, args=arguments, daemon=True).start()


def jittered(pause_s: float) -> float:
    """Not quite the pause, so that those who failed together do not come back together."""
    return pause_s * random.uniform(0.5, 1.0)


def dial(url: str) -> grpc.Channel:
    """A connection of its own: it has no memory of when the node was last down."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(url.split("://")[-1], options)


def ask(url: str, question: outcome_pb2.GetOutcomeRequest) -> int:
    """The verdict of the node at an address. No answer proves nothing: unknown."""
    try:
        with dial(url) as channel:
            service = outcome_pb2_grpc.OutcomeServiceStub(channel)
            return service.GetOutcome(question, timeout=CALL_TIMEOUT_S).verdict
    except grpc.RpcError:
        return outcome_pb2.VERDICT_UNKNOWN


def register(coordinator: str, registration: admin_pb2.RegisterParticipantRequest) -> None:
    """Makes a participant known, again and again. Each time the coordinator says Hello."""
    pause_s, wake = PAUSE_FIRST_S, threading.Event()
    while True:
        try:
            with dial(coordinator) as channel:
                service = admin_pb2_grpc.AdminServiceStub(channel)
                service.RegisterParticipant(registration, timeout=CALL_TIMEOUT_S)
            pause_s = PAUSE_FIRST_S
            wake.wait(REGISTER_EVERY_S)
        except grpc.RpcError as error:
            if pause_s == PAUSE_FIRST_S:
                print(f"cannot register: {error.details()}", file=sys.stderr, flush=True)
            # A bad name or address, or PARTICIPANT_REPLACED: another data directory has the name.
            if error.code() in (INVALID_ARGUMENT, FAILED_PRECONDITION):
                os._exit(1)
            wake.wait(jittered(pause_s))
            pause_s = min(2 * pause_s, PAUSE_MAX_S)


def run(
    make: Callable[[str, Log], Any],
    begin: Callable[[Any], None],
    arguments: Optional[list[str]] = None,
) -> None:
    """Makes a participant of its log, has it begin, and serves it until SIGTERM."""
    parser = argparse.ArgumentParser(description="A key-value store as a participant of nemcon.")
    parser.add_argument("--name", required=True, help="operations are addressed to it")
    parser.add_argument("--listen", default="127.0.0.1:7190", help="HOST:PORT; port 0 takes any")
    parser.add_argument("--data-dir", required=True, type=Path, help="made if missing")
    parser.add_argument("--coordinator", required=True, help="URL to register at")
    parser.add_argument("--advertise", help="URL under which others reach this node")
    parser.add_argument("--ready-file", type=Path, help="gets the URL once the node serves")
    told = parser.parse_args(arguments)

    participant = make(told.name, Log(told.data_dir / "log"))
    begin(participant)
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)]
    server = grpc.server(ThreadPoolExecutor(THREADS_MAX), options=options)
    participant_pb2_grpc.add_ParticipantServiceServicer_to_server(participant, server)
    outcome_pb2_grpc.add_OutcomeServiceServicer_to_server(participant, server)
    health_service = health.HealthServicer()
    health_service.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    services = ["nemcon.v1.ParticipantService", "nemcon.v1.OutcomeService", health.SERVICE_NAME]
    reflection.enable_server_reflection([*services, reflection.SERVICE_NAME], server)
    port = server.add_insecure_port(told.listen)
    server.start()

    url = told.advertise or f"http://{told.listen.rpartition(':')[0]}:{port}"
    registration = admin_pb2.RegisterParticipantRequest(
        name=told.name, participant_id=participant.id, address=url
    )
    start(register, told.coordinator, registration)
    if told.ready_file:
        partial = told.ready_file.with_name(told.ready_file.name + ".part")
        partial.write_text(url)
        partial.replace(told.ready_file)  # so that it is whole when it is there

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    stop.wait()
    health_service.enter_graceful_shutdown()
    server.stop(STOP_S).wait()
    # Whoever waits for a lock is not waited for. What was said is in the log.
    os._exit(0)

"""A client of nemcon that keeps the rules of README.md, "How a client should retry".

    python client.py open bank-a/alice CZK 10000
    python client.py transfer bank-a/alice bank-b/bob CZK 2500
    python client.py balance bank-a/alice bank-b/bob
    python client.py put kv/greeting hello
    python client.py get kv/greeting
    python client.py run FILE.json      # an array of operations, as grpcurl takes them

Amounts are in minor units: cents. It exits with 0 if the transaction committed, 1 if it aborted or
was refused, 2 for bad usage, 3 if the outcome is not known, 4 if nobody could be reached.
"""

import argparse
import json
import os
import random
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Callable

import grpc
from google.protobuf import json_format
from google.protobuf.any import pack
from google.rpc import error_details_pb2
from grpc_status import rpc_status

sys.path.insert(0, str(Path(__file__).parent / "generated"))  # what generate.sh makes
import kv_pb2 as kv
from nemcon.bank.v1 import bank_pb2 as bank
from nemcon.v1 import transaction_pb2, transaction_pb2_grpc, types_pb2

PAUSE_FIRST_S, PAUSE_MAX_S, CONNECT_S = 0.05, 2.0, 1.0
ANSWER_GRACE_S = 1.0  # a call may take the time of its transaction, and so much more
COMMITTED, ABORTED = types_pb2.OUTCOME_COMMITTED, types_pb2.OUTCOME_ABORTED

COMMANDS = {
    "open": "at currency amount",
    "transfer": "payer payee currency amount",
    "balance": "at",
    "put": "at value",
    "get": "at",
    "run": "file",
}

# Reasons by which nothing has been done, and those that leave it open, as a status does that has no
# reason of ours: the connection broke, or it is no node of ours. All others are a no.
NOTHING_DONE = {"NOT_SERVING", "TOO_MANY_REQUESTS"}
OPEN = {"OUTCOME_UNKNOWN", "UNREACHABLE", "INTERNAL", ""}


class Refused(Exception):
    """Nothing has been done, and the same request will be refused again."""


class Unknown(Exception):
    """It may have committed and may not. Only the same request, under the same id, will tell."""

    def __init__(self, request: transaction_pb2.RunTransactionRequest, why: str) -> None:
        self.transaction_id, self.coordinator_id = request.transaction_id, request.coordinator_id
        super().__init__(f"the outcome of transaction {request.transaction_id} is not known: {why}")


class Unreachable(Exception):
    """Nothing has been done: nobody took the request in."""


def new_id() -> str:
    """A UUID of version 7: 48 bits of time in milliseconds, then chance."""
    bits = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    bits = bits & ~(0b1111 << 76) | 7 << 76  # the version
    bits = bits & ~(0b11 << 62) | 0b10 << 62  # the variant
    return str(uuid.UUID(int=bits))


def read(error: grpc.RpcError) -> tuple[str, str, float]:
    """Reason, coordinator and pause that a status names. A status that is not nemcon's has none."""
    reason, coordinator_id, pause_s = "", "", 0.0
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == "nemcon":
            reason, coordinator_id = info.reason, info.metadata["coordinator_id"]
        elif detail.Unpack(retry):
            pause_s = retry.retry_delay.ToTimedelta().total_seconds()
    return reason, coordinator_id, pause_s


def jittered(pause_s: float) -> float:
    """Not quite the pause, so that clients that failed together do not come back together."""
    return pause_s * random.uniform(0.5, 1.0)


class Client:
    """A client of one coordinator. It gives up after so many seconds, and says what it knows.

    Every id is given to `keep` before it is sent: whoever has it can ask, whatever becomes of us.
    """

    def __init__(self, url: str, patience_s: float, keep: Callable[[str], None]) -> None:
        self.url, self.patience_s, self.keep = url, patience_s, keep
        self.coordinator_id = ""  # who answered last
        self.channel = None

    def run(
        self,
        operations: list[types_pb2.Operation],
        transaction_id: str = "",
        coordinator_id: str = "",
    ) -> transaction_pb2.RunTransactionResponse:
        """Runs a transaction, and again under a new id while it aborts for a reason that a rerun
        may help. To go on with one whose outcome is not known, name its id and coordinator."""
        until, pause_s = time.monotonic() + self.patience_s, PAUSE_FIRST_S
        request = transaction_pb2.RunTransactionRequest(
            transaction_id=transaction_id or new_id(),
            operations=operations,
            timeout_ms=10_000,
            coordinator_id=coordinator_id,
        )
        may_have_run = bool(transaction_id)
        while True:
            answer = self.send(request, until, may_have_run)
            wait_s, pause_s = jittered(pause_s), min(2 * pause_s, PAUSE_MAX_S)
            if not answer.refusal.retryable or time.monotonic() + wait_s > until:
                return answer
            # It aborted, so a new id is right. The first one goes along, and with it its age.
            first = request.first_transaction_id or request.transaction_id
            request.first_transaction_id, request.transaction_id = first, new_id()
            request.coordinator_id, may_have_run = "", False
            time.sleep(wait_s)

    def send(
        self, request: transaction_pb2.RunTransactionRequest, until: float, may_have_run: bool
    ) -> transaction_pb2.RunTransactionResponse:
        """Sends a request until there is an outcome, always under its one id: it never runs twice.
        Once a try may have run that stays so, and no later refusal undoes it."""
        self.keep(request.transaction_id)
        answered_last, pause_s = self.coordinator_id, PAUSE_FIRST_S
        while True:
            told, wait_s = "", jittered(pause_s)
            try:
                answer = self.call(request)
                self.coordinator_id = told = answer.coordinator_id
                if answer.outcome in (COMMITTED, ABORTED):
                    return answer
                why, may_have_run = "it has no outcome yet", True
            except grpc.FutureTimeoutError:
                why = f"{self.url} cannot be reached"  # this try was not even sent
            except grpc.RpcError as error:
                reason, told, asked_s = read(error)
                why = f"{reason or error.code().name}: {error.details()}"
                # Whoever has forgotten ids of that time cannot tell whether it has run.
                may_have_run |= reason in OPEN or reason == "OUTCOME_FORGOTTEN"
                if reason == "TRANSACTION_ID_REUSED":  # for others, so these have not run
                    raise Refused(why) from error
                if reason not in NOTHING_DONE | OPEN:
                    raise Unknown(request, why) if may_have_run else Refused(why)
                wait_s = max(wait_s, asked_s)
            self.close()
            if may_have_run and not request.coordinator_id:
                request.coordinator_id = told or answered_last
            if time.monotonic() + wait_s > until:
                raise Unknown(request, why) if may_have_run else Unreachable(why)
            time.sleep(wait_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    def call(
        self, request: transaction_pb2.RunTransactionRequest
    ) -> transaction_pb2.RunTransactionResponse:
        """One try. Without a connection nothing is sent, and so nothing is done."""
        if self.channel is None:
            options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
            self.channel = grpc.insecure_channel(self.url.split("://")[-1], options)
            grpc.channel_ready_future(self.channel).result(CONNECT_S)
        service = transaction_pb2_grpc.TransactionServiceStub(self.channel)
        limit_s = request.timeout_ms / 1000 + ANSWER_GRACE_S
        return service.RunTransaction(request, timeout=limit_s)

    def close(self) -> None:
        """Lets go of the connection; the next call makes another."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None


def operation(at: str, action: Any, read_only: bool = False) -> types_pb2.Operation:
    """What is to be done at PARTICIPANT/NAME."""
    return types_pb2.Operation(
        participant=at.partition("/")[0], action=pack(action), read_only=read_only
    )


def name(at: str) -> str:
    """The name in PARTICIPANT/NAME: of an account, or a key."""
    return at.partition("/")[2]


def operations(told: argparse.Namespace) -> list[types_pb2.Operation]:
    """What a command asks for."""
    if told.command == "run":
        wire = {"operations": json.loads(told.file.read_text())}
        return json_format.ParseDict(wire, transaction_pb2.RunTransactionRequest()).operations
    if told.command == "balance":
        return [operation(at, bank.Read(account=name(at)), read_only=True) for at in told.at]
    if told.command == "get":
        return [operation(told.at, kv.Get(key=name(told.at)), read_only=True)]
    if told.command == "put":
        return [operation(told.at, kv.Put(key=name(told.at), value=told.value))]
    if told.command == "open":
        opening = {"currency": told.currency, "opening_balance_minor": told.amount}
        return [operation(told.at, bank.Open(account=name(told.at), **opening))]
    money = {"currency": told.currency, "amount_minor": told.amount}
    return [
        operation(told.payer, bank.Withdraw(account=name(told.payer), **money)),
        operation(told.payee, bank.Deposit(account=name(told.payee), **money)),
    ]


def arguments() -> argparse.Namespace:
    """The command line. An account or a key is named PARTICIPANT/NAME."""
    usage = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usage.add_argument("--coordinator", default="http://127.0.0.1:7100", metavar="URL")
    usage.add_argument("--patience", type=float, default=30.0, metavar="SECONDS")
    usage.add_argument("--transaction-id", default="", help="go on with this one")
    usage.add_argument("--coordinator-id", default="", help="to which it went first")
    commands = usage.add_subparsers(dest="command", required=True)
    for command, wanted in COMMANDS.items():
        parser = commands.add_parser(command)
        for argument in wanted.split():
            kind = {"amount": int, "file": Path}.get(argument, str)
            parser.add_argument(argument, type=kind, nargs="+" if command == "balance" else None)
    return usage.parse_args()


def keep(transaction_id: str) -> None:
    """Says the id, so that whoever reads it can ask whatever becomes of us."""
    print("transaction", transaction_id, flush=True)


def main() -> int:
    """Runs one transaction, prints what came of it, and returns the exit code."""
    told = arguments()
    try:
        client = Client(told.coordinator, told.patience, keep)
        answer = client.run(operations(told), told.transaction_id, told.coordinator_id)
    except Unknown as unknown:
        print(unknown, file=sys.stderr)
        first = f" --coordinator-id {unknown.coordinator_id}" if unknown.coordinator_id else ""
        print(f"send it again: --transaction-id {unknown.transaction_id}{first}", file=sys.stderr)
        return 3
    except Unreachable as unreachable:
        print(f"nothing was done: {unreachable}", file=sys.stderr)
        return 4
    except Refused as refused:
        print(f"refused: {refused}", file=sys.stderr)
        return 1
    if answer.outcome == ABORTED:
        print(f"aborted: {answer.refusal.reason}: {answer.refusal.message}")
        return 1
    print("committed" + (", and the results are lost" if answer.results_lost else ""))
    for result in answer.results:
        print(json_format.MessageToJson(result, indent=None))
    return 0


if __name__ == "__main__":
    sys.exit(main())

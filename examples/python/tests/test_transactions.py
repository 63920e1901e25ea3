"""Transactions of the key-value store, alone and with a bank."""

import sys

import grpc
import pytest
from google.protobuf.any import pack
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import kv_pb2 as kv
from nemcon.bank.v1 import bank_pb2
from nemcon.v1 import transaction_pb2, types_pb2

import client
import shell
from conftest import EXAMPLE, HERE, SOON_S, Cluster, until
from wrong_participant import WRONG

COMMITTED, ABORTED = types_pb2.OUTCOME_COMMITTED, types_pb2.OUTCOME_ABORTED


def append(text: str, key: str = "x") -> types_pb2.Operation:
    return client.operation("kv", kv.Append(key=key, text=text))


def put(value: str, only_if_absent: bool = False) -> types_pb2.Operation:
    return client.operation("kv", kv.Put(key="x", value=value, only_if_absent=only_if_absent))


def get(key: str = "x", read_only: bool = True) -> types_pb2.Operation:
    return client.operation("kv", kv.Get(key=key), read_only)


def withdraw(amount_minor: int) -> types_pb2.Operation:
    action = bank_pb2.Withdraw(account="alice", amount_minor=amount_minor, currency="CZK")
    return client.operation("bank-a", action)


def opened(cluster: Cluster) -> None:
    action = bank_pb2.Open(account="alice", currency="CZK", opening_balance_minor=1000)
    assert cluster.run(client.operation("bank-a", action)).outcome == COMMITTED


def value(cluster: Cluster, key: str = "x") -> str:
    answer = cluster.run(get(key))
    assert answer.outcome == COMMITTED, answer
    return kv.Entry.FromString(answer.results[0].value).value


def acknowledged(cluster: Cluster) -> None:
    """Waits until everything that was decided has been done everywhere."""
    until(
        "all is acknowledged",
        lambda: all(known.unfinished == 0 and known.reachable for known in cluster.participants()),
    )


def test_the_participant_has_fewer_than_200_lines() -> None:
    assert len((EXAMPLE / "participant.py").read_text().splitlines()) < 200


def test_it_commits_at_both(cluster: Cluster) -> None:
    opened(cluster)
    answer = cluster.run(append("a"), withdraw(100), append("b"))
    assert answer.outcome == COMMITTED, answer
    entries = [kv.Entry.FromString(answer.results[at].value).value for at in (0, 2)]
    assert entries == ["a", "ab"], "what comes later sees what came before"
    acknowledged(cluster)
    assert (value(cluster), cluster.peek("bank-a/alice")) == ("ab", 900)


def test_a_no_of_the_bank_leaves_the_store_as_it_was(cluster: Cluster) -> None:
    opened(cluster)
    answer = cluster.run(append("a"), withdraw(1001))
    assert (answer.outcome, answer.refusal.reason) == (ABORTED, "INSUFFICIENT_FUNDS")
    assert (value(cluster), cluster.peek("bank-a/alice")) == ("", 1000)


def test_a_no_of_the_store_leaves_the_bank_as_it_was(cluster: Cluster) -> None:
    opened(cluster)
    assert cluster.run(put("first")).outcome == COMMITTED
    answer = cluster.run(put("second", only_if_absent=True), withdraw(100))
    assert (answer.outcome, answer.refusal.reason) == (ABORTED, "KEY_EXISTS")
    assert not answer.refusal.retryable
    assert (value(cluster), cluster.peek("bank-a/alice")) == ("first", 1000)


def test_what_was_committed_survives_any_number_of_crashes(cluster: Cluster) -> None:
    opened(cluster)
    for text in "abc":
        assert cluster.run(append(text), withdraw(1)).outcome == COMMITTED
        assert cluster.run(append(text, "alone")).outcome == COMMITTED
        acknowledged(cluster)
        cluster.kv.kill()
        cluster.kv.start()
    until("it is reachable again", lambda: all(known.reachable for known in cluster.participants()))
    assert (value(cluster), value(cluster, "alone")) == ("abc", "abc")


@pytest.mark.parametrize("outcome", [COMMITTED, ABORTED])
def test_what_it_decided_alone_is_answered_again_after_crashes(
    cluster: Cluster, outcome: int
) -> None:
    only_if_absent = outcome == ABORTED
    if only_if_absent:
        assert cluster.run(put("first")).outcome == COMMITTED
    operation = put("second", True) if only_if_absent else append("a")
    request = transaction_pb2.RunTransactionRequest(
        transaction_id=client.new_id(), operations=[operation]
    )
    first = cluster.send(request).result(SOON_S)
    assert first.outcome == outcome
    # The coordinator wrote nothing: when it has forgotten, it asks.
    for node in (cluster.kv, cluster.coordinator):
        node.kill()
    cluster.start()
    request.coordinator_id = first.coordinator_id
    again = cluster.send(request).result(SOON_S)
    assert (again.outcome, again.refusal.reason) == (outcome, first.refusal.reason)
    assert list(again.results) == list(first.results)
    assert value(cluster) == ("first" if only_if_absent else "a")
    request.operations[0].CopyFrom(append("b"))
    with pytest.raises(grpc.RpcError) as refused:
        cluster.send(request).result(SOON_S)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_a_transaction_that_only_reads_writes_nothing_and_lets_go(cluster: Cluster) -> None:
    opened(cluster)
    assert cluster.run(put("a")).outcome == COMMITTED
    before = len(cluster.records())
    read = client.operation("bank-a", bank_pb2.Read(account="alice"), read_only=True)
    for _ in range(2):
        answer = cluster.run(get(), read)
        assert answer.outcome == COMMITTED, answer
        assert kv.Entry.FromString(answer.results[0].value).value == "a"
    assert len(cluster.records()) == before
    assert cluster.run(put("b")).outcome == COMMITTED


def test_an_action_that_makes_no_sense_is_a_no(cluster: Cluster) -> None:
    opened(cluster)
    garbled = {"type_url": f"x/{kv.Get.DESCRIPTOR.full_name}", "value": b"\xff"}
    wrong = [
        client.operation("kv", bank_pb2.Read(account="alice")),
        types_pb2.Operation(participant="kv", action=pack(kv.Get(key=""))),
        types_pb2.Operation(participant="kv", action=garbled),
    ]
    for operation in wrong:
        for others in ([], [withdraw(1)]):
            answer = cluster.run(operation, *others)
            assert (answer.outcome, answer.refusal.reason) == (ABORTED, "INVALID_ACTION"), answer
    answer = cluster.run(client.operation("kv", kv.Put(key="x", value="a"), read_only=True))
    assert (answer.outcome, answer.refusal.reason) == (ABORTED, "READ_ONLY_VIOLATED")
    many = cluster.run(*(append("a" * 200_000) for _ in range(5)), withdraw(1))
    assert (many.outcome, many.refusal.reason) == (ABORTED, "TOO_LARGE")
    assert cluster.peek("bank-a/alice") == 1000


def test_it_ends_in_good_order(cluster: Cluster) -> None:
    with shell.dial(cluster.kv.url) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=5
        )
        assert check.status == health_pb2.HealthCheckResponse.SERVING
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        service = reflection_pb2_grpc.ServerReflectionStub(channel)
        (listed,) = service.ServerReflectionInfo(iter([ask]), timeout=5)
        names = {service.name for service in listed.list_services_response.service}
        assert {"nemcon.v1.ParticipantService", "nemcon.v1.OutcomeService"} <= names
    cluster.kv.process.terminate()
    assert cluster.kv.process.wait(SOON_S) == 0


def test_whoever_breaks_a_rule_looks_right_until_it_matters(cluster: Cluster) -> None:
    opened(cluster)
    program = [sys.executable, str(HERE / "wrong_participant.py")]
    for wrong in WRONG:
        cluster.add(wrong, [*program, "--wrong", wrong])
    cluster.start()
    for wrong in WRONG:
        step = client.operation(wrong, kv.Append(key="x", text="a"))
        for others in ([], [withdraw(1)]):
            assert cluster.run(step, *others).outcome == COMMITTED, wrong
    acknowledged(cluster)
    for wrong in WRONG:
        read = cluster.run(client.operation(wrong, kv.Get(key="x"), read_only=True))
        assert kv.Entry.FromString(read.results[0].value).value == "aa", wrong


def test_an_empty_directory_does_not_take_over_the_name(cluster: Cluster) -> None:
    cluster.kv.kill()
    (cluster.directory / "kv" / "log").unlink()
    cluster.kv.spawn()
    assert cluster.kv.process.wait(SOON_S) == 1
    assert "cannot register" in cluster.kv.output()

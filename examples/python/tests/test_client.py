"""The client, as a person or a script uses it."""

import time
import uuid

from nemcon.bank.v1 import bank_pb2
from nemcon.v1 import types_pb2

import client
from conftest import NOBODY, Cluster, Hold, until

ALICE, BOB = "bank-a/alice", "bank-b/bob"
TRANSFER = ("transfer", ALICE, BOB, "CZK", "100")


def opened(cluster: Cluster) -> None:
    assert cluster.client("open", ALICE, "CZK", "1000").exit() == 0
    assert cluster.client("open", BOB, "CZK", "0").exit() == 0


def balances(cluster: Cluster) -> tuple:
    """Both balances, read in one transaction."""
    answer = cluster.run(
        *(
            client.operation(at, bank_pb2.Read(account=client.name(at)), read_only=True)
            for at in (ALICE, BOB)
        )
    )
    assert answer.outcome == types_pb2.OUTCOME_COMMITTED, answer
    read = [bank_pb2.Account.FromString(result.value) for result in answer.results]
    return tuple(account.balance_minor for account in read)


def in_flight(cluster: Cluster, *patience: str) -> tuple:
    """A transfer that cannot end: bank a has voted, and bank b waits for a lock of the test's."""
    opened(cluster)
    hold = Hold(cluster, "bank-b", bank_pb2.Deposit(account="bob", amount_minor=1, currency="CZK"))
    told = cluster.client(*patience, *TRANSFER)
    until("bank a has voted", lambda: told.ids and told.ids[0] in cluster.in_doubt_at("bank-a"))
    return told, hold


def test_ids_are_uuids_of_version_7() -> None:
    ids = [uuid.UUID(client.new_id()) for _ in range(100)]
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert len(set(ids)) == 100
    assert all(abs(time.time() - (one.int >> 80) / 1000) < 60 for one in ids)


def test_money_is_moved_from_one_bank_to_another(cluster: Cluster) -> None:
    opened(cluster)
    told = cluster.client(*TRANSFER)
    assert told.exit() == 0, told.output
    assert len(told.ids) == 1 and "committed" in told.output
    read = cluster.client("balance", ALICE, BOB)
    assert read.exit() == 0
    assert '"balanceMinor": "900"' in read.output and '"balanceMinor": "100"' in read.output
    assert balances(cluster) == (900, 100)


def test_the_same_id_runs_once_however_often_it_is_sent(cluster: Cluster) -> None:
    opened(cluster)
    first = cluster.client(*TRANSFER)
    assert first.exit() == 0
    for _ in range(2):
        again = cluster.client("--transaction-id", first.ids[0], *TRANSFER)
        assert again.exit() == 0 and again.ids == first.ids
    assert balances(cluster) == (900, 100)
    other = cluster.client("--transaction-id", first.ids[0], "transfer", ALICE, BOB, "CZK", "5")
    assert other.exit() == 1 and "TRANSACTION_ID_REUSED" in other.output


def test_a_no_of_the_business_is_an_outcome(cluster: Cluster) -> None:
    opened(cluster)
    told = cluster.client("transfer", ALICE, BOB, "CZK", "1001")
    assert told.exit() == 1
    assert "aborted: INSUFFICIENT_FUNDS" in told.output
    assert len(told.ids) == 1, "it is not run again"
    assert balances(cluster) == (1000, 0)


def test_a_request_that_cannot_be_right_is_refused(cluster: Cluster) -> None:
    told = cluster.client("get", "nobody/key")
    assert told.exit() == 1 and "UNKNOWN_PARTICIPANT" in told.output
    assert cluster.client("transfer", ALICE).exit() == 2


def test_after_an_abort_that_a_rerun_can_help_it_runs_under_a_new_id(cluster: Cluster) -> None:
    cluster.coordinator.kill()
    cluster.coordinator.command.append("--lock-wait-ms=100")
    cluster.start()
    opened(cluster)
    hold = Hold(cluster, "bank-b", bank_pb2.Deposit(account="bob", amount_minor=1, currency="CZK"))
    told = cluster.client(*TRANSFER)
    until("it has been run again", lambda: len(told.ids) >= 2)
    hold.let_go()
    assert told.exit() == 0, told.output
    assert len(set(told.ids)) == len(told.ids)
    assert balances(cluster) == (900, 100)
    assert "LOCK_TIMEOUT" == cluster.view(told.ids[0]).refusal.reason


def test_a_coordinator_that_is_killed_and_comes_back_tells_the_outcome(patient: Cluster) -> None:
    told, hold = in_flight(patient)
    patient.coordinator.kill()
    hold.let_go()
    patient.coordinator.start()
    assert told.exit() == 0, told.output
    assert len(told.ids) == 1, "the id stays the same after any doubt"
    assert balances(patient) == (900, 100)
    until("nothing stays in doubt", lambda: not patient.in_doubt_at("bank-a"))


def test_a_coordinator_that_stays_away_leaves_the_outcome_unknown(patient: Cluster) -> None:
    told, hold = in_flight(patient, "--patience", "3")
    patient.coordinator.kill()
    assert told.exit() == 3, told.output
    assert len(told.ids) == 1
    assert f"the outcome of transaction {told.ids[0]} is not known" in told.output
    assert f"--transaction-id {told.ids[0]}" in told.output
    hold.let_go()

    # What it says is enough to go on with.
    patient.coordinator.start()
    again = patient.client("--transaction-id", told.ids[0], *TRANSFER)
    assert again.exit() == 0, again.output
    assert balances(patient) == (900, 100)


def test_a_refusal_does_not_undo_an_earlier_try(cluster: Cluster) -> None:
    # Another process may have sent this id before.
    told = cluster.client("--transaction-id", client.new_id(), "get", "nobody/key")
    assert told.exit() == 3, told.output


def test_nobody_there_is_neither_an_abort_nor_unknown(cluster: Cluster) -> None:
    told = cluster.client("--coordinator", NOBODY, "--patience", "1", "get", "kv/key")
    assert told.exit() == 4, told.output
    assert "nothing was done" in told.output

//! What clients and operators ask for.

use super::border::addressed;
use super::*;
use nemcon_core::lock::Mode;
use nemcon_core::message::LockRequest;

impl World {
    pub(crate) fn mint(&mut self) -> TransactionId {
        self.minted += 1;
        TransactionId::from_parts(self.now, u128::from(self.minted))
    }

    /// A client sends a new one-shot transaction.
    pub(crate) fn run(
        &mut self,
        coordinator: usize,
        operations: Vec<(usize, Action, bool)>,
    ) -> Order {
        let transaction = self.mint();
        let order = Order {
            transaction,
            first: transaction,
            coordinator,
            operations,
        };
        self.orders.push(order.clone());
        self.send(&order);
        order
    }

    /// A client sends a transaction, perhaps again.
    pub(crate) fn send(&mut self, order: &Order) {
        self.send_to(order, order.coordinator, None);
    }

    /// A client sends a transaction again, to another coordinator, and says so.
    pub(crate) fn send_elsewhere(&mut self, order: &Order, coordinator: usize) {
        self.send_to(order, coordinator, Some(identity(order.coordinator)));
    }

    fn send_to(&mut self, order: &Order, coordinator: usize, first_sent_to: Option<CoordinatorId>) {
        let transaction = order.transaction;
        let operations: Vec<AddressedOperation> = order
            .operations
            .iter()
            .map(|operation| addressed(*operation))
            .collect();
        let hash = fingerprint(&operations);
        let waiting = Waiting::Client { transaction };
        let request = self.request(Place::Coordinator(coordinator), waiting);
        let begin = Begin {
            transaction,
            age: order.first,
            timeout: None,
            first_sent_to,
        };
        let event = CoordinatorEvent::RunRequested {
            request,
            begin,
            hash,
            operations,
        };
        self.tell_coordinator(coordinator, event);
    }

    pub(crate) fn begin(&mut self, coordinator: usize) -> TransactionId {
        let transaction = self.mint();
        self.begin_as(coordinator, transaction, transaction);
        transaction
    }

    /// The same under an id that was chosen before, and with the age of another.
    pub(crate) fn begin_as(
        &mut self,
        coordinator: usize,
        transaction: TransactionId,
        age: TransactionId,
    ) {
        self.interactive.push((coordinator, transaction));
        let request = self.request(
            Place::Coordinator(coordinator),
            Waiting::Client { transaction },
        );
        let begin = Begin {
            transaction,
            age,
            timeout: None,
            first_sent_to: None,
        };
        self.tell_coordinator(
            coordinator,
            CoordinatorEvent::BeginRequested { request, begin },
        );
    }

    /// The epoch in which it began, as its client was told.
    fn epoch_of(&self, transaction: TransactionId) -> Epoch {
        self.begun.get(&transaction).copied().unwrap_or_default()
    }

    /// The number of the piece to send next.
    pub(crate) fn next_piece(&self, transaction: TransactionId) -> u32 {
        self.answered.get(&transaction).copied().unwrap_or(0) + 1
    }

    pub(crate) fn execute(
        &mut self,
        coordinator: usize,
        transaction: TransactionId,
        number: u32,
        operations: &[(usize, Action, bool)],
    ) {
        let request = self.request(
            Place::Coordinator(coordinator),
            Waiting::Client { transaction },
        );
        let operations = operations
            .iter()
            .map(|operation| addressed(*operation))
            .collect();
        let event = CoordinatorEvent::ExecuteRequested {
            request,
            transaction,
            epoch: self.epoch_of(transaction),
            number,
            operations,
        };
        self.tell_coordinator(coordinator, event);
    }

    /// Locks what operations would: to read where they only read.
    pub(crate) fn lock(
        &mut self,
        coordinator: usize,
        transaction: TransactionId,
        number: u32,
        accounts: &[(usize, Action, bool)],
    ) {
        let request = self.request(
            Place::Coordinator(coordinator),
            Waiting::Client { transaction },
        );
        let lock = |(at, action, reads): &(usize, Action, bool)| {
            let (Action::Read(register) | Action::Add(register, _)) = action;
            let mode = if *reads {
                Mode::Shared
            } else {
                Mode::Exclusive
            };
            let name = register.to_string();
            (super::border::name(*at), LockRequest { name, mode })
        };
        let event = CoordinatorEvent::LocksRequested {
            request,
            transaction,
            epoch: self.epoch_of(transaction),
            number,
            locks: accounts.iter().map(lock).collect(),
        };
        self.tell_coordinator(coordinator, event);
    }

    pub(crate) fn commit(&mut self, coordinator: usize, transaction: TransactionId) {
        let request = self.request(
            Place::Coordinator(coordinator),
            Waiting::Client { transaction },
        );
        self.tell_coordinator(
            coordinator,
            CoordinatorEvent::CommitRequested {
                request,
                transaction,
                epoch: self.epoch_of(transaction),
            },
        );
    }

    pub(crate) fn abort(&mut self, coordinator: usize, transaction: TransactionId) {
        let request = self.request(
            Place::Coordinator(coordinator),
            Waiting::Client { transaction },
        );
        let why = String::new();
        self.tell_coordinator(
            coordinator,
            CoordinatorEvent::AbortRequested {
                request,
                transaction,
                why,
            },
        );
    }

    pub(crate) fn resolve(&mut self, participant: usize, attempt: AttemptId, outcome: Outcome) {
        let request = self.request(Place::Participant(participant), Waiting::Nobody);
        let reason = String::from("by hand");
        self.tell_participant(
            participant,
            ParticipantEvent::ResolveRequested {
                request,
                attempt,
                outcome,
                reason,
            },
        );
    }

    /// An operator takes a participant out.
    pub(crate) fn remove(&mut self, coordinator: usize, participant: usize) {
        let request = self.request(Place::Coordinator(coordinator), Waiting::Nobody);
        let event = CoordinatorEvent::RemoveRequested {
            request,
            name: super::name(participant),
            give_up: None,
        };
        self.tell_coordinator(coordinator, event);
    }

    /// An operator takes a participant out, and gives up what it has promised.
    pub(crate) fn give_up(&mut self, coordinator: usize, participant: usize, why: &str) {
        let request = self.request(Place::Coordinator(coordinator), Waiting::Nobody);
        let event = CoordinatorEvent::RemoveRequested {
            request,
            name: super::name(participant),
            give_up: Some(why.to_owned()),
        };
        self.tell_coordinator(coordinator, event);
    }

    /// The disk under a node fills up, or has room again.
    pub(crate) fn set_room(&mut self, place: Place, room: Room) {
        let wake = Wake::Room(room);
        match place {
            Place::Coordinator(at) => self.tell_coordinator(at, wake.into()),
            Place::Participant(at) => self.tell_participant(at, wake.into()),
        }
    }

    /// A node is asked to stop: nothing new begins.
    pub(crate) fn drain(&mut self, place: Place) {
        match place {
            Place::Coordinator(at) => self.tell_coordinator(at, CoordinatorEvent::DrainRequested),
            Place::Participant(at) => self.tell_participant(at, ParticipantEvent::DrainRequested),
        }
    }

    /// Somebody puts an old copy of its disk under a participant, which goes down.
    /// From then on nothing that it promised since can be expected of it.
    pub(crate) fn set_back(&mut self, participant: usize, disk: crate::node::Disk) {
        self.crash(Place::Participant(participant), 0);
        self.participants[participant].set_back_to(disk);
        self.promised[participant].clear();
    }

    /// Somebody has seen to damage, on both sides.
    pub(crate) fn acknowledge_damage(&mut self, participant: usize, attempt: AttemptId) {
        let request = self.request(Place::Participant(participant), Waiting::Nobody);
        self.tell_participant(
            participant,
            ParticipantEvent::DamageAcknowledged { request, attempt },
        );
        let at = coordinator_of(attempt.coordinator);
        let request = self.request(Place::Coordinator(at), Waiting::Nobody);
        let participant = name(participant);
        self.tell_coordinator(
            at,
            CoordinatorEvent::DamageAcknowledged {
                request,
                attempt,
                participant,
            },
        );
    }
}

/// Stands for SHA-256: each of its bytes depends on all that is wanted, since a
/// machine may keep only some of them (FNV-1a, as often as there are words to fill).
pub(super) fn fingerprint(wanted: &impl std::fmt::Debug) -> OperationsHash {
    let text = format!("{wanted:?}");
    let mut hash = [0; 32];
    for (word, salt) in hash.chunks_exact_mut(8).zip(0_u8..) {
        let bytes = [salt].into_iter().chain(text.bytes());
        let sum = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        word.copy_from_slice(&sum.to_be_bytes());
    }
    OperationsHash(hash)
}

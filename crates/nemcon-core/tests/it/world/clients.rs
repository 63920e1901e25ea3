//! What clients and operators ask for.

use super::border::addressed;
use super::*;

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
        let order = Order {
            transaction: self.mint(),
            coordinator,
            operations,
        };
        self.orders.push(order.clone());
        self.send(&order);
        order
    }

    /// A client sends a transaction, perhaps again.
    pub(crate) fn send(&mut self, order: &Order) {
        let Order {
            transaction,
            coordinator,
            ..
        } = *order;
        let operations: Vec<AddressedOperation> = order
            .operations
            .iter()
            .map(|operation| addressed(*operation))
            .collect();
        let mut hash = [0_u8; 32];
        for (at, (place, operation)) in operations.iter().enumerate() {
            let text = format!("{at} {place} {operation:?}");
            for (byte, slot) in text.bytes().zip((0..32).cycle()) {
                hash[slot] = hash[slot].wrapping_mul(31).wrapping_add(byte);
            }
        }
        let waiting = Waiting::Client { transaction };
        let request = self.request(Place::Coordinator(coordinator), waiting);
        let begin = Begin {
            transaction,
            age: transaction,
            timeout: None,
            first_sent_to: None,
        };
        let hash = OperationsHash(hash);
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
        self.interactive.push((coordinator, transaction));
        let request = self.request(
            Place::Coordinator(coordinator),
            Waiting::Client { transaction },
        );
        let begin = Begin {
            transaction,
            age: transaction,
            timeout: None,
            first_sent_to: None,
        };
        self.tell_coordinator(
            coordinator,
            CoordinatorEvent::BeginRequested { request, begin },
        );
        transaction
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
            number,
            operations,
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

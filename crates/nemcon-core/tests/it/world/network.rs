//! Messages on their way, and who waits for an answer.

use super::*;

/// What is on its way.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Frame {
        from: usize,
        /// The participant that is meant.
        meant: usize,
        /// The one that is reached.
        to: usize,
        frame: Frame<Payload>,
    },
    Answer {
        from: usize,
        to: usize,
        answer: Answer<Payload>,
    },
    Lost {
        from: usize,
        to: usize,
        call: Call,
        failure: Failure,
    },
    Ask {
        from: usize,
        whom: Place,
        source: Source,
        attempt: AttemptId,
    },
    Verdict {
        to: usize,
        source: Source,
        attempt: AttemptId,
        verdict: Result<Verdict, Failure>,
    },
    Damage {
        from: usize,
        to: usize,
        attempt: AttemptId,
        by_hand: Outcome,
        reason: String,
    },
    DamageAnswered {
        to: usize,
        attempt: AttemptId,
        result: Result<(), Failure>,
    },
}

impl Packet {
    /// The node that must be up to take it.
    pub(crate) fn receiver(&self) -> Place {
        match self {
            Self::Frame { to, .. } => Place::Participant(*to),
            Self::Answer { to, .. } | Self::Lost { from: to, .. } => Place::Coordinator(*to),
            Self::Ask { whom, .. } => *whom,
            Self::Verdict { to, .. } | Self::DamageAnswered { to, .. } => Place::Participant(*to),
            Self::Damage { to, .. } => Place::Coordinator(*to),
        }
    }
}

/// Who waits behind a request.
#[derive(Clone, Debug)]
pub(crate) enum Waiting {
    Client {
        transaction: TransactionId,
    },
    /// Who has asked about a saga, or wants something of it.
    Saga {
        saga: SagaId,
        asker: Asker,
    },
    Frame {
        coordinator: usize,
        participant: usize,
        call: Call,
    },
    Asker {
        participant: usize,
        source: Source,
        attempt: AttemptId,
    },
    Damage {
        participant: usize,
        attempt: AttemptId,
    },
    /// A participant that makes itself known.
    Registration {
        participant: usize,
    },
    Nobody,
}

/// What a node says to somebody outside the network, as it was said.
#[derive(Clone, Debug)]
pub(crate) enum Overheard {
    Coordinator(usize, Waiting, CoordinatorReply),
    Participant(usize, Waiting, ParticipantReply<i64>),
    CoordinatorAlarm(usize, CoordinatorAlarm),
    ParticipantAlarm(usize, ParticipantAlarm),
    /// What whoever watches a saga hears.
    SagaChanged(usize, SagaId, SagaState),
    Drained(Place),
}

impl World {
    /// What is on its way, in the order of sending.
    pub(crate) fn network(&self) -> &[Packet] {
        &self.network
    }

    /// Who waits for an answer of this node.
    pub(crate) fn waiting_at(&self, place: Place) -> Vec<Waiting> {
        let of_place = self.waiting.iter().filter(|((at, _), _)| *at == place);
        of_place.map(|(_, waiting)| waiting.clone()).collect()
    }

    /// The network keeps one message back until [`World::arrive_late`].
    pub(crate) fn delay(&mut self, at: usize) {
        let packet = self.network.remove(at);
        self.late.push(packet);
    }

    /// The network makes a copy of one message, and keeps that back.
    pub(crate) fn double_late(&mut self, at: usize) {
        self.late.push(self.network[at].clone());
    }

    /// What was kept back is on its way again, behind all else.
    pub(crate) fn arrive_late(&mut self) {
        self.network.append(&mut self.late);
    }

    /// From now on, whatever is sent to the address of `participant` reaches
    /// `other`.
    pub(crate) fn redirect(&mut self, participant: usize, other: usize) {
        self.redirected.insert(participant, other);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.network.len()
    }

    /// Delivers one message. A node that is down cannot take it.
    pub(crate) fn deliver(&mut self, at: usize) {
        let packet = self.network.remove(at);
        if self.is_up(packet.receiver()) {
            return self.take(packet);
        }
        match packet {
            Packet::Frame {
                from, meant, frame, ..
            } => {
                let (call, failure) = (frame.message.call(), Failure::Unreachable);
                self.network.push(Packet::Lost {
                    from,
                    to: meant,
                    call,
                    failure,
                });
            }
            Packet::Ask {
                from,
                source,
                attempt,
                ..
            } => {
                let verdict = Err(Failure::Unreachable);
                self.network.push(Packet::Verdict {
                    to: from,
                    source,
                    attempt,
                    verdict,
                });
            }
            Packet::Damage { from, attempt, .. } => {
                let result = Err(Failure::Unreachable);
                self.network.push(Packet::DamageAnswered {
                    to: from,
                    attempt,
                    result,
                });
            }
            Packet::Answer { .. }
            | Packet::Lost { .. }
            | Packet::Verdict { .. }
            | Packet::DamageAnswered { .. } => {}
        }
    }

    /// Loses one message without a word.
    pub(crate) fn lose(&mut self, at: usize) {
        self.network.remove(at);
    }

    /// Doubles one message.
    pub(crate) fn double(&mut self, at: usize) {
        let packet = self.network[at].clone();
        self.network.push(packet);
    }

    fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Frame {
                from,
                meant,
                to,
                frame,
            } => {
                self.messages += 1;
                let waiting = Waiting::Frame {
                    coordinator: from,
                    participant: meant,
                    call: frame.message.call(),
                };
                let request = self.request(Place::Participant(to), waiting);
                let frame = frame.map_actions(|payload, _| Ok(action(&payload)));
                self.tell_participant(to, ParticipantEvent::FrameReceived { request, frame });
            }
            Packet::Answer { from, to, answer } => {
                self.messages += 1;
                self.note_favour(from, &answer);
                let from = name(from);
                self.tell_coordinator(to, CoordinatorEvent::Answered { from, answer });
            }
            Packet::Lost {
                from,
                to,
                call,
                failure,
            } => {
                let to = name(to);
                self.tell_coordinator(from, CoordinatorEvent::CallFailed { to, call, failure });
            }
            Packet::Ask {
                from,
                whom,
                source,
                attempt,
            } => {
                let waiting = Waiting::Asker {
                    participant: from,
                    source,
                    attempt,
                };
                let request = self.request(whom, waiting);
                match whom {
                    Place::Coordinator(at) => self
                        .tell_coordinator(at, CoordinatorEvent::VerdictAsked { request, attempt }),
                    Place::Participant(at) => {
                        self.tell_participant(at, ParticipantEvent::PeerAsked { request, attempt });
                    }
                }
            }
            Packet::Verdict {
                to,
                source,
                attempt,
                verdict,
            } => {
                let event = ParticipantEvent::VerdictHeard {
                    attempt,
                    from: source,
                    verdict,
                };
                self.tell_participant(to, event);
            }
            Packet::Damage {
                from,
                to,
                attempt,
                by_hand,
                reason,
            } => {
                let waiting = Waiting::Damage {
                    participant: from,
                    attempt,
                };
                let request = self.request(Place::Coordinator(to), waiting);
                let participant = name(from);
                let event = CoordinatorEvent::DamageReported {
                    request,
                    participant,
                    attempt,
                    by_hand,
                    reason,
                };
                self.tell_coordinator(to, event);
            }
            Packet::DamageAnswered {
                to,
                attempt,
                result,
            } => {
                let event = ParticipantEvent::DamageReportAnswered { attempt, result };
                self.tell_participant(to, event);
            }
        }
    }

    fn note_favour(&mut self, from: usize, answer: &Answer<Payload>) {
        if let Answer::Voted {
            attempt,
            vote: Vote::Yes(_) | Vote::ReadOnly(_),
            ..
        } = answer
        {
            self.in_favour
                .entry(*attempt)
                .or_default()
                .insert(name(from));
        }
    }

    pub(super) fn tell_coordinator(&mut self, at: usize, event: CoordinatorEvent) {
        let effects = self.coordinators[at].step(self.now, event);
        self.coordinator_effects(at, effects);
    }

    pub(super) fn tell_participant(&mut self, at: usize, event: ParticipantEvent<Action>) {
        let effects = self.participants[at].step(self.now, event);
        self.participant_effects(at, effects);
    }

    pub(super) fn coordinator_effects(&mut self, at: usize, effects: Vec<CoordinatorEffect>) {
        for effect in effects {
            match effect {
                CoordinatorEffect::Send { to, frame } => {
                    if let ToParticipant::Prepare(prepare) = &frame.message {
                        let peers = prepare.peers.iter().map(|peer| peer.name.clone());
                        self.asked
                            .entry(prepare.task.attempt)
                            .or_default()
                            .extend(peers);
                    }
                    let to = place_of(&to);
                    let reached = self.redirected.get(&to).copied().unwrap_or(to);
                    self.network.push(Packet::Frame {
                        from: at,
                        meant: to,
                        to: reached,
                        frame,
                    });
                }
                CoordinatorEffect::Reply { request, reply } => {
                    self.coordinator_reply(at, request, reply);
                }
                CoordinatorEffect::Alarm(alarm) => {
                    if let CoordinatorAlarm::SagaStuck { saga, .. } = &alarm {
                        self.stuck.insert(*saga);
                    }
                    self.alarms.push(format!("{alarm:?}"));
                    self.overheard.push(Overheard::CoordinatorAlarm(at, alarm));
                }
                CoordinatorEffect::Drained => {
                    let drained = Overheard::Drained(Place::Coordinator(at));
                    self.overheard.push(drained);
                }
                CoordinatorEffect::SagaChanged { saga, state } => {
                    self.overheard.push(Overheard::SagaChanged(at, saga, state));
                }
                CoordinatorEffect::Link { .. }
                | CoordinatorEffect::Unlink { .. }
                | CoordinatorEffect::Changed(_) => {}
            }
        }
    }

    fn coordinator_reply(&mut self, at: usize, request: RequestId, reply: CoordinatorReply) {
        let Some(waiting) = self.waiting.remove(&(Place::Coordinator(at), request)) else {
            panic!("request {request} was answered twice or never asked");
        };
        let overheard = Overheard::Coordinator(at, waiting.clone(), reply.clone());
        self.overheard.push(overheard);
        match (waiting, reply) {
            (Waiting::Client { transaction }, CoordinatorReply::Finished(report)) => {
                assert_eq!(report.transaction, transaction);
                self.answers.push((transaction, report.ending.outcome()));
                if let Ending::Committed(Some(results)) = report.ending {
                    self.results.insert(transaction, decode(&results));
                }
            }
            (Waiting::Client { transaction }, CoordinatorReply::Refused(refusal)) => {
                self.refused
                    .push((transaction, refusal.reason.as_str().to_owned()));
            }
            (Waiting::Client { transaction }, CoordinatorReply::Begun { epoch }) => {
                self.begun.insert(transaction, epoch);
            }
            (Waiting::Client { transaction }, CoordinatorReply::Executed(results)) => {
                *self.answered.entry(transaction).or_default() += 1;
                self.pieces.insert(transaction, decode(&results));
            }
            (Waiting::Client { transaction }, CoordinatorReply::LocksAcquired(_)) => {
                *self.answered.entry(transaction).or_default() += 1;
            }
            (
                Waiting::Asker {
                    participant,
                    source,
                    attempt,
                },
                CoordinatorReply::Verdict(verdict),
            ) => {
                let (to, verdict) = (participant, Ok(verdict));
                self.network.push(Packet::Verdict {
                    to,
                    source,
                    attempt,
                    verdict,
                });
            }
            (
                Waiting::Damage {
                    participant,
                    attempt,
                },
                CoordinatorReply::Done,
            ) => {
                let result = Ok(());
                self.network.push(Packet::DamageAnswered {
                    to: participant,
                    attempt,
                    result,
                });
            }
            (Waiting::Saga { saga, .. }, CoordinatorReply::Saga(view)) => {
                assert_eq!(view.saga, saga);
                self.saga_answers.push((saga, Ok(view.state)));
            }
            (Waiting::Saga { saga, .. }, CoordinatorReply::Refused(refusal)) => {
                self.saga_answers.push((saga, Err(refusal)));
            }
            (Waiting::Nobody | Waiting::Registration { .. }, _) => {}
            (waiting, reply) => panic!("{waiting:?} was answered {reply:?}"),
        }
    }

    pub(super) fn participant_effects(&mut self, at: usize, effects: Vec<ParticipantEffect<i64>>) {
        for effect in effects {
            match effect {
                ParticipantEffect::Answer { request, answer } => {
                    let key = (Place::Participant(at), request);
                    let waiting = self.waiting.remove(&key);
                    let Some(Waiting::Frame {
                        coordinator,
                        participant,
                        call,
                    }) = waiting
                    else {
                        panic!("request {request} was answered twice or never asked");
                    };
                    if let Answer::Voted {
                        attempt,
                        vote: Vote::Yes(_),
                        ..
                    } = &answer
                    {
                        self.promised[at].insert(*attempt);
                    }
                    let (from, to) = (participant, coordinator);
                    // As the nodes' border has it: whoever is not meant has
                    // not been reached.
                    let packet = match answer.map_results(encode) {
                        Answer::Refused { refusal, .. }
                            if refusal.reason == Reason::WRONG_PARTICIPANT =>
                        {
                            Packet::Lost {
                                from: to,
                                to: from,
                                call,
                                failure: Failure::Unreachable,
                            }
                        }
                        answer => Packet::Answer { from, to, answer },
                    };
                    self.network.push(packet);
                }
                ParticipantEffect::Reply { request, reply } => {
                    let key = (Place::Participant(at), request);
                    let waiting = self.waiting.remove(&key);
                    if let Some(waiting) = &waiting {
                        let said = Overheard::Participant(at, waiting.clone(), reply.clone());
                        self.overheard.push(said);
                    }
                    match (waiting, reply) {
                        (
                            Some(Waiting::Asker {
                                participant,
                                source,
                                attempt,
                            }),
                            ParticipantReply::Verdict(verdict),
                        ) => {
                            let (to, verdict) = (participant, Ok(verdict));
                            self.network.push(Packet::Verdict {
                                to,
                                source,
                                attempt,
                                verdict,
                            });
                        }
                        (Some(Waiting::Nobody), _) => {}
                        (waiting, reply) => panic!("{waiting:?} was answered {reply:?}"),
                    }
                }
                ParticipantEffect::Ask {
                    attempt,
                    whom,
                    address,
                } => {
                    let (from, source, whom) = (at, whom, address_of(&address));
                    self.network.push(Packet::Ask {
                        from,
                        whom,
                        source,
                        attempt,
                    });
                }
                ParticipantEffect::ReportDamage {
                    attempt,
                    by_hand,
                    reason,
                    address,
                } => {
                    let Place::Coordinator(to) = address_of(&address) else {
                        panic!("damage is reported to coordinators")
                    };
                    self.network.push(Packet::Damage {
                        from: at,
                        to,
                        attempt,
                        by_hand,
                        reason,
                    });
                }
                ParticipantEffect::Alarm(alarm) => {
                    self.alarms.push(format!("{alarm:?}"));
                    self.overheard.push(Overheard::ParticipantAlarm(at, alarm));
                }
                ParticipantEffect::Drained => {
                    let drained = Overheard::Drained(Place::Participant(at));
                    self.overheard.push(drained);
                }
            }
        }
    }
}

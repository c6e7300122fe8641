//! Who waits for which delivery report: a ticket is a number, so that it can go through librdkafka and come back
//! without an allocation. Sync and pure. A ticket's place is used again once the report has come and nobody waits for
//! it any more; the ticket that had it before does not fit then.

use std::{
    sync::Arc,
    task::{Poll, Waker},
    time::Instant,
};

use crate::{
    admission::Admitted,
    budget::Share,
    error::{ApiError, Unavailable},
};

/// The places of one desk, and the bits of a ticket that name one.
const PLACE_BITS: u32 = 24;
const PLACES_MAX: usize = 1 << PLACE_BITS;
const GENERATION_BITS: u32 = u32::BITS;
const DESK_BITS: u32 = u8::BITS;

const _: () =
    assert!(PLACE_BITS + GENERATION_BITS + DESK_BITS <= usize::BITS, "a ticket is a pointer's size");

/// Where a record lies in its topic; of several copies that the Kafka client wrote, the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    pub partition: i32,
    pub offset: i64,
}

impl Delivered {
    /// `None` without an offset: librdkafka also reports a record whose acknowledgement was lost, if that of a later one
    /// says that the brokers have it.
    pub fn at(partition: i32, offset: i64) -> Option<Self> {
        (offset >= 0).then_some(Self { partition, offset })
    }
}

/// What the brokers say of a record.
pub type Answer = Result<Delivered, ApiError>;

/// The number of a record on its way: its desk, its place there, and how often that was used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub usize);

impl Ticket {
    fn new(desk: u8, generation: u32, place: usize) -> Self {
        let generation = (generation as usize) << PLACE_BITS;
        Self((usize::from(desk) << (PLACE_BITS + GENERATION_BITS)) | generation | place)
    }

    /// The desk that issued it.
    pub fn desk(self) -> u8 {
        u8::try_from(self.0 >> (PLACE_BITS + GENERATION_BITS)).unwrap_or_default()
    }

    fn generation(self) -> u32 {
        u32::try_from((self.0 >> PLACE_BITS) & u32::MAX as usize).unwrap_or_default()
    }

    const fn place(self) -> usize {
        self.0 & (PLACES_MAX - 1)
    }
}

/// What is kept of a record until its report.
#[derive(Debug)]
pub struct Queued {
    pub since: Instant,
    /// Of a batch with this record alone, at most.
    pub batch_bytes: usize,
    /// Its request's share of what may be in flight.
    pub admitted: Option<Arc<Admitted>>,
    /// Its own share of the queue.
    pub room: Option<Share>,
}

/// A report has come.
#[derive(Debug)]
pub struct Reported {
    pub queued: Queued,
    pub waker: Option<Waker>,
    /// Whether somebody still waits for it.
    pub is_wanted: bool,
}

/// The tickets of one desk.
#[derive(Debug)]
pub struct Tickets {
    desk: u8,
    places: Vec<Place>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Free,
    Waiting(Reported),
    Answered(Answer),
}

impl Tickets {
    pub const fn new(desk: u8) -> Self {
        Self { desk, places: Vec::new(), free: Vec::new() }
    }

    /// A ticket for a record, unless there are too many of them.
    pub fn issue(&mut self, queued: Queued) -> Option<Ticket> {
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.places.len() < PLACES_MAX => {
                self.places.push(Place { generation: 0, state: State::Free });
                self.places.len() - 1
            }
            None => return None,
        };
        let place = self.places.get_mut(number)?;
        place.state = State::Waiting(Reported { queued, waker: None, is_wanted: true });
        Some(Ticket::new(self.desk, place.generation, number))
    }

    /// The report, if it has come; otherwise `waker` is woken when it does.
    pub fn poll(&mut self, ticket: Ticket, waker: &Waker) -> Poll<Answer> {
        let Some(place) = self.place(ticket) else { return Poll::Ready(UNKNOWN) };
        if let State::Waiting(waiting) = &mut place.state {
            if waiting.waker.as_ref().is_none_or(|last| !last.will_wake(waker)) {
                waiting.waker = Some(waker.clone());
            }
            return Poll::Pending;
        }
        let state = std::mem::replace(&mut place.state, State::Free);
        self.release(ticket);
        match state {
            State::Answered(answer) => Poll::Ready(answer),
            State::Free | State::Waiting(_) => Poll::Ready(UNKNOWN),
        }
    }

    /// Nobody waits for the report any more. The record is on its way all the same, and its place is taken.
    pub fn leave(&mut self, ticket: Ticket) {
        match self.place(ticket).map(|place| &mut place.state) {
            Some(State::Waiting(waiting)) => (waiting.is_wanted, waiting.waker) = (false, None),
            Some(State::Answered(_)) => self.release(ticket),
            Some(State::Free) | None => {}
        }
    }

    /// The record is not on its way: there will be no report.
    pub fn cancel(&mut self, ticket: Ticket) {
        self.release(ticket);
    }

    /// The bytes of a batch with this record alone, at most.
    pub fn batch_bytes(&mut self, ticket: Ticket) -> Option<usize> {
        match &self.place(ticket)?.state {
            State::Waiting(waiting) => Some(waiting.queued.batch_bytes),
            State::Free | State::Answered(_) => None,
        }
    }

    /// Keeps a report for whoever waits for it; `None` if the ticket is not known or has its report.
    pub fn answer(&mut self, ticket: Ticket, answer: Answer) -> Option<Reported> {
        let place = self.place(ticket)?;
        match std::mem::replace(&mut place.state, State::Answered(answer)) {
            State::Waiting(reported) => {
                if !reported.is_wanted {
                    self.release(ticket);
                }
                Some(reported)
            }
            former @ (State::Free | State::Answered(_)) => {
                place.state = former;
                None
            }
        }
    }

    fn place(&mut self, ticket: Ticket) -> Option<&mut Place> {
        self.places.get_mut(ticket.place()).filter(|place| place.generation == ticket.generation())
    }

    fn release(&mut self, ticket: Ticket) {
        if let Some(place) = self.place(ticket) {
            *place = Place { generation: place.generation.wrapping_add(1), state: State::Free };
            self.free.push(ticket.place());
        }
    }
}

/// To a ticket that nobody has issued, or that had its answer.
const UNKNOWN: Answer = Err(ApiError::Unavailable(Unavailable::Kafka));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queued(batch_bytes: usize) -> Queued {
        Queued { since: Instant::now(), batch_bytes, admitted: None, room: None }
    }

    fn at(offset: i64) -> Answer {
        Ok(Delivered { partition: 0, offset })
    }

    fn poll(tickets: &mut Tickets, ticket: Ticket) -> Poll<Answer> {
        tickets.poll(ticket, Waker::noop())
    }

    #[test]
    fn a_record_without_an_offset_lies_nowhere() {
        // What librdkafka has before it knows one.
        const OFFSET_INVALID: i64 = -1_001;
        assert!([OFFSET_INVALID, -1].into_iter().all(|offset| Delivered::at(3, offset).is_none()));
        assert_eq!(Delivered::at(3, 0), Some(Delivered { partition: 3, offset: 0 }));
    }

    #[test]
    fn a_ticket_tells_its_desk_its_place_and_its_generation() {
        for (desk, generation, place) in [(0, 0, 0), (255, u32::MAX, PLACES_MAX - 1), (7, 1, 42)] {
            let ticket = Ticket::new(desk, generation, place);
            assert_eq!((ticket.desk(), ticket.generation(), ticket.place()), (desk, generation, place));
        }
    }

    #[test]
    fn a_report_is_had_once_and_its_place_is_used_again_by_another_ticket() {
        let mut tickets = Tickets::new(3);
        let first = tickets.issue(queued(10)).unwrap();
        assert_eq!((poll(&mut tickets, first), tickets.batch_bytes(first)), (Poll::Pending, Some(10)));
        let reported = tickets.answer(first, at(1)).unwrap();
        assert!(reported.is_wanted && reported.waker.is_some());
        assert!(tickets.answer(first, at(2)).is_none(), "a second report");
        assert_eq!(poll(&mut tickets, first), Poll::Ready(at(1)));
        let second = tickets.issue(queued(20)).unwrap();
        assert_eq!((second.place(), second.desk()), (first.place(), 3));
        assert_ne!(first, second);
        assert_eq!((poll(&mut tickets, first), tickets.batch_bytes(first)), (Poll::Ready(UNKNOWN), None));
        tickets.leave(first);
        assert!(tickets.answer(first, at(3)).is_none(), "too late for the first");
        assert_eq!(poll(&mut tickets, second), Poll::Pending, "and nothing of the second's");
    }

    #[test]
    fn a_record_that_nobody_waits_for_has_its_place_until_its_report() {
        let mut tickets = Tickets::new(0);
        let left = tickets.issue(queued(0)).unwrap();
        tickets.leave(left);
        let other = tickets.issue(queued(0)).unwrap();
        assert_ne!(other.place(), left.place());
        assert!(!tickets.answer(left, at(1)).unwrap().is_wanted);
        assert_eq!(tickets.issue(queued(0)).unwrap().place(), left.place());
        tickets.cancel(other);
        assert_eq!(tickets.issue(queued(0)).unwrap().place(), other.place(), "it never was on its way");
    }

    proptest! {
        /// Whatever comes in whatever order, each waits for its own report and gets no other's, and all places are
        /// free when all is done.
        #[test]
        fn everybody_gets_the_own_report(steps in proptest::collection::vec((0u8..4, 0usize..50), 0..300)) {
            let mut tickets = Tickets::new(1);
            // Each with its number, and whether it is waited for and reported.
            let mut open: Vec<(Ticket, i64, bool, bool)> = Vec::new();
            for (number, (step, which)) in (0i64..).zip(steps) {
                if step == 0 || open.is_empty() {
                    open.push((tickets.issue(queued(0)).unwrap(), number, true, false));
                }
                let count = open.len();
                let (ticket, number, is_wanted, is_reported) = &mut open[which % count];
                match step {
                    1 => {
                        let reported = tickets.answer(*ticket, at(*number));
                        let expected = (!*is_reported).then_some(*is_wanted);
                        prop_assert_eq!(reported.map(|reported| reported.is_wanted), expected);
                        *is_reported = true;
                    }
                    2 => {
                        tickets.leave(*ticket);
                        *is_wanted = false;
                    }
                    3 if *is_wanted => {
                        let expected = if *is_reported { Poll::Ready(at(*number)) } else { Poll::Pending };
                        prop_assert_eq!(poll(&mut tickets, *ticket), expected);
                        *is_wanted &= !*is_reported;
                    }
                    _ => {}
                }
                open.retain(|(_, _, is_wanted, is_reported)| *is_wanted || !*is_reported);
                prop_assert_eq!(tickets.places.len() - tickets.free.len(), open.len());
            }
        }
    }
}

//! The threads that serve connections, each with a runtime of its own: a connection lives and ends on the one to which
//! it was given. So no task moves between threads, and what one task of a shard wakes in it costs no other thread a
//! wake-up (ADR 0024). Accepting, watching and the admin port are not among what runs here.
//!
//! Every wake-up costs, however little there is to do. While requests come often, a shard that has nothing more to do
//! waits a moment for more of them before it looks at its sockets again, and does together what came meanwhile.

use std::{
    cell::Cell,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinSet,
};
use tokio_util::task::TaskTracker;

thread_local! {
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
    /// Requests that came since this thread last had nothing to do.
    static CAME: Cell<u32> = const { Cell::new(0) };
    /// When it last had nothing to do after requests.
    static PARKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The number of the shard, from 0, that this thread is; `None` elsewhere.
pub fn current() -> Option<usize> {
    CURRENT.get()
}

/// A request has come on this thread.
pub fn request_came() {
    CAME.set(CAME.get().saturating_add(1));
}

/// Has nothing to do: waits for `wait` if more requests can be expected meanwhile. Without requests this costs nothing.
fn park(wait: Duration) {
    let came = CAME.take();
    if came == 0 {
        return;
    }
    let now = Instant::now();
    let last = PARKED.replace(Some(now));
    if last.is_some_and(|last| is_worth_a_wait(wait, came, now.saturating_duration_since(last))) {
        thread::sleep(wait);
    }
}

/// Whether requests come so often, `came` of them `within` this time, that one in two waits at least brings another.
fn is_worth_a_wait(wait: Duration, came: u32, within: Duration) -> bool {
    within <= wait.saturating_mul(came.saturating_mul(2))
}

/// The threads. Dropping this ends them, and cuts the connections that are still open.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<Shard>,
    /// To which a connection was given last.
    last: AtomicUsize,
}

#[derive(Debug)]
struct Shard {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    /// The thread ends when this is dropped.
    until: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

/// A connection among those of its shard.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shards {
    /// Starts so many threads. `wait`: for how long each waits for more requests while they come often.
    ///
    /// # Errors
    /// The system gives no more threads or files.
    pub fn start(count: u8, wait: Duration) -> io::Result<Self> {
        let shards = (0..usize::from(count))
            .map(|number| Shard::start(thread::Builder::new().name(format!("shard-{number}")), number, wait));
        let shards: io::Result<Vec<Shard>> = shards.collect();
        Ok(Self { shards: shards?, last: AtomicUsize::new(0) })
    }

    /// Starts a task on each shard, made for its number. Who has them is told when one ends, also by a panic or with
    /// its shard; dropping them ends them.
    pub fn on_each<T>(&self, task: impl Fn(usize) -> T) -> JoinSet<()>
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for (number, shard) in self.shards.iter().enumerate() {
            tasks.spawn_on(task(number), &shard.handle);
        }
        tasks
    }

    /// Serves a connection on the shard that has the fewest. `tracker` knows when it has ended.
    pub fn serve(&self, tracker: &TaskTracker, connection: impl Future<Output = ()> + Send + 'static) {
        let counts = self.shards.iter().map(|shard| shard.connections.load(Ordering::Relaxed));
        let chosen = fewest(&counts.collect::<Vec<_>>(), self.last.load(Ordering::Relaxed));
        let Some(shard) = self.shards.get(chosen) else { return };
        self.last.store(chosen, Ordering::Relaxed);
        shard.connections.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&shard.connections));
        let connection = async move {
            let _place = place;
            connection.await;
        };
        // Without a span of its own: it would be entered and left at each of the many times that it is polled.
        drop(tracker.spawn_on(connection, &shard.handle));
    }

    /// Makes whoever gives it the next connection panic: no number comes after this one.
    #[cfg(test)]
    pub fn break_down(&self) {
        self.last.store(usize::MAX, Ordering::Relaxed);
    }

    /// Ends the threads, unless somebody else still has them, and waits for their ends: what they hold has to be gone
    /// before the process is.
    pub fn end(self: Arc<Self>) {
        let shards = Arc::into_inner(self).into_iter().flat_map(|shards| shards.shards);
        for Shard { until, thread, .. } in shards {
            drop(until);
            if thread.join().is_err() {
                tracing::error!("a shard panicked");
            }
        }
    }
}

impl Shard {
    /// Its runtime is made and dropped on its thread: async code, which calls this, must not drop one.
    fn start(thread: thread::Builder, number: usize, wait: Duration) -> io::Result<Self> {
        let (made, handle) = sync_channel(1);
        let (until, ended) = oneshot::channel::<()>();
        let serve = move || -> io::Result<()> {
            let runtime =
                Builder::new_current_thread().enable_all().on_thread_park(move || park(wait)).build()?;
            CURRENT.set(Some(number));
            let _is_awaited = made.send(runtime.handle().clone()).is_ok();
            // A dropped sender means the same.
            runtime.block_on(async { ended.await.unwrap_or_default() });
            Ok(())
        };
        let thread = thread.spawn(serve)?;
        match handle.recv() {
            Ok(handle) => Ok(Self { handle, connections: Arc::default(), until, thread }),
            // The thread has come to its end, and says why.
            Err(_) => {
                let error = thread.join().ok().and_then(Result::err);
                Err(error.unwrap_or_else(|| io::Error::other("its thread panicked")))
            }
        }
    }
}

/// Where the smallest number stands; of several the first behind `last`, so that short connections, of which none is
/// open any more when the next one comes, do not all go to one shard.
fn fewest(counts: &[usize], last: usize) -> usize {
    let places = (1..=counts.len()).map(|step| (last + step) % counts.len());
    places.min_by_key(|place| counts.get(*place)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rstest::rstest;
    use tokio::sync::{mpsc, watch};

    use super::*;

    #[rstest]
    #[case::the_only_one(&[7], 0, 0)]
    #[case::the_least(&[3, 1, 2], 1, 1)]
    #[case::the_next_of_equal_ones(&[1, 1, 1], 0, 1)]
    #[case::round_to_the_first(&[1, 2, 1], 2, 0)]
    fn a_connection_goes_to_the_shard_with_the_fewest(
        #[case] counts: &[usize],
        #[case] last: usize,
        #[case] chosen: usize,
    ) {
        assert_eq!(fewest(counts, last), chosen);
    }

    #[rstest]
    #[case::often(1, 200, true)]
    #[case::more_together_than_before(3, 1_500, true)]
    #[case::one_in_two_waits(1, 600, true)]
    #[case::seldom(1, 601, false)]
    #[case::a_few_after_a_while(5, 100_000, false)]
    fn more_requests_are_waited_for_while_they_come_often(
        #[case] came: u32,
        #[case] within_micros: u64,
        #[case] is_worth_it: bool,
    ) {
        let (wait, within) = (Duration::from_micros(300), Duration::from_micros(within_micros));
        assert_eq!(is_worth_a_wait(wait, came, within), is_worth_it);
        assert!(!is_worth_a_wait(Duration::ZERO, came, within), "it is switched off");
    }

    #[test]
    fn a_shard_waits_only_after_requests_that_come_often() {
        const WAIT: Duration = Duration::from_millis(50);
        let parked = || {
            let since = Instant::now();
            park(WAIT);
            since.elapsed() >= WAIT
        };
        assert!(!parked(), "nothing came");
        request_came();
        assert!(!parked(), "the first request: nobody knows how often they come");
        request_came();
        assert!(parked(), "the next one soon after");
        assert!(!parked(), "nothing came since");
        thread::sleep(3 * WAIT);
        request_came();
        assert!(!parked(), "after a pause");
    }

    #[tokio::test]
    async fn open_connections_are_spread_and_stay_on_their_threads() {
        let (shards, tracker) = (Shards::start(3, Duration::ZERO).unwrap(), TaskTracker::new());
        let (open, ended) = watch::channel(());
        let (seen, mut threads) = mpsc::channel(100);
        for number in 0..30 {
            let (seen, mut ended) = (seen.clone(), ended.clone());
            shards.serve(&tracker, async move {
                let name = || thread::current().name().unwrap().to_owned();
                let before = name();
                seen.send((number, before.clone())).await.unwrap();
                // Woken from another thread.
                let _closed = ended.changed().await.is_err();
                assert_eq!(name(), before);
                seen.send((number, before)).await.unwrap();
            });
        }
        let mut connections: HashMap<String, usize> = HashMap::new();
        for _ in 0..30 {
            let (_, thread) = threads.recv().await.unwrap();
            *connections.entry(thread).or_default() += 1;
        }
        let expected = [0, 1, 2].map(|shard| (format!("shard-{shard}"), 10));
        assert_eq!(connections, HashMap::from(expected));
        drop(open);
        tracker.close();
        tracker.wait().await;
        for _ in 0..30 {
            assert!(threads.try_recv().is_ok(), "one did not end on its thread");
        }
        let left = shards.shards.iter().map(|shard| shard.connections.load(Ordering::Relaxed));
        assert_eq!(left.sum::<usize>(), 0);
    }

    #[tokio::test]
    async fn a_shard_without_a_thread_is_an_error_also_in_async_code() {
        let larger_than_any_memory = thread::Builder::new().stack_size(1 << 60);
        assert!(Shard::start(larger_than_any_memory, 0, Duration::ZERO).is_err());
    }

    #[tokio::test]
    async fn a_task_that_panics_on_one_of_the_shards_is_noticed() {
        let shards = Shards::start(2, Duration::ZERO).unwrap();
        let mut tasks = shards.on_each(|number| async move {
            assert_eq!(number, 0, "the other one panics");
            std::future::pending::<()>().await;
        });
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_panic());
        assert_eq!(tasks.len(), 1, "the first goes on");
    }

    #[tokio::test]
    async fn shards_that_end_cut_what_they_serve() {
        let (shards, tracker) = (Arc::new(Shards::start(1, Duration::ZERO).unwrap()), TaskTracker::new());
        shards.serve(&tracker, std::future::pending());
        shards.end();
        assert_eq!(tracker.len(), 0);
    }
}

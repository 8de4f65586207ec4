//! The bounded queue between requests and the threads that own sessions, and the rule by which batches form.
//!
//! A thread takes all that waits, up to a tile of rows, and no timer holds a lonely request back. A request larger than a
//! tile is cut; after each tile the rest goes to the end of the queue, so that a large request neither starves the small
//! ones nor keeps more than one thread from helping with it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::RunError;
use crate::contract::{ModelInput, OutputRows, Outputs};

/// The answer to a request: its rows in order, and where the time went.
#[derive(Debug, Clone)]
pub struct Answer {
    pub slices: Vec<OutputRows>,
    /// From the request's arrival in the queue to the start of its first run.
    pub queued: Duration,
    /// From the start of its first run to the end of its last.
    pub running: Duration,
}

/// One request in the engine.
pub(super) struct Request {
    pub input: ModelInput,
    pub n_rows: usize,
    pub deadline: Instant,
    submitted: Instant,
    progress: Mutex<Progress>,
}

struct Progress {
    reply: Option<oneshot::Sender<Result<Answer, RunError>>>,
    started: Option<Instant>,
    slices: Vec<Option<OutputRows>>,
    missing: usize,
}

/// Rows of a request that are run together.
pub(super) struct Tile {
    pub request: Arc<Request>,
    pub rows: Range<usize>,
    index: usize,
}

impl Request {
    /// The request, and where its answer will arrive. Dropping the receiver cancels it.
    pub fn new(input: ModelInput, deadline: Instant) -> (Self, oneshot::Receiver<Result<Answer, RunError>>) {
        let (reply, receiver) = oneshot::channel();
        let n_rows = match &input {
            ModelInput::Rows(table) => table.n_rows,
            ModelInput::Tensors(_) => 1,
        };
        let progress = Progress { reply: Some(reply), started: None, slices: Vec::new(), missing: 0 };
        let request = Self { input, n_rows, deadline, submitted: Instant::now(), progress: Mutex::new(progress) };
        (request, receiver)
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_over(&self) -> bool {
        lock(&self.progress).reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    pub fn fail(&self, error: RunError) {
        if let Some(reply) = lock(&self.progress).reply.take() {
            // A caller that went away needs no answer.
            let _ = reply.send(Err(error));
        }
    }
}

impl Tile {
    /// A whole request in one tile, which never was in the queue.
    pub fn whole(request: Request) -> Self {
        lock(&request.progress).missing = 1;
        let rows = 0..request.n_rows;
        Self { request: Arc::new(request), rows, index: 0 }
    }

    /// Hands the tile's part of the answer over, and the whole answer with the last part.
    pub fn answer(&self, outputs: Arc<Outputs>, rows: Range<usize>, started: Instant, ended: Instant) {
        let mut progress = lock(&self.request.progress);
        let first = *progress.started.get_or_insert(started);
        if progress.slices.len() <= self.index {
            progress.slices.resize(self.index + 1, None);
        }
        progress.slices[self.index] = Some(OutputRows { outputs, rows });
        progress.missing = progress.missing.saturating_sub(1);
        if progress.missing > 0 {
            return;
        }
        let slices = std::mem::take(&mut progress.slices).into_iter().flatten().collect();
        let queued = first.saturating_duration_since(self.request.submitted);
        let answer = Answer { slices, queued, running: ended.saturating_duration_since(first) };
        if let Some(reply) = progress.reply.take() {
            let _ = reply.send(Ok(answer));
        }
    }
}

/// A request that waits, from row `next_row` on.
struct Waiting {
    request: Arc<Request>,
    tile_rows: usize,
    next_row: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    n_rows: usize,
    n_idle: usize,
    is_closed: bool,
}

pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    max_tile_rows: usize,
    max_rows: usize,
    /// Whether requests may be cut and merged.
    by_row: bool,
}

impl Queue {
    /// `max_rows` bounds the rows that wait, except that an empty queue takes a request of any size.
    pub fn new(max_tile_rows: usize, max_rows: usize, by_row: bool) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), max_tile_rows: max_tile_rows.max(1), max_rows, by_row }
    }

    pub fn push(&self, request: Request) -> Result<(), RunError> {
        let n_rows = request.n_rows;
        let n_tiles = if self.by_row { n_rows.div_ceil(self.max_tile_rows).max(1) } else { 1 };
        lock(&request.progress).missing = n_tiles;
        let waiting = Waiting { request: Arc::new(request), tile_rows: n_rows.div_ceil(n_tiles), next_row: 0 };
        let mut state = lock(&self.state);
        if state.is_closed {
            return Err(RunError::Stopped);
        }
        if state.n_rows > 0 && state.n_rows + n_rows > self.max_rows {
            return Err(RunError::QueueFull);
        }
        state.n_rows += n_rows;
        state.waiting.push_back(waiting);
        let n_idle = state.n_idle;
        drop(state);
        // A notification is a system call even where nobody waits for it.
        match (n_idle, n_tiles) {
            (0, _) => {}
            (_, 1) => self.arrived.notify_one(),
            _ => self.arrived.notify_all(),
        }
        Ok(())
    }

    /// Fills `batch` with the tiles to run next, waiting for one. `false` when the queue is closed and empty.
    pub fn take(&self, batch: &mut Vec<Tile>) -> bool {
        let mut state = lock(&self.state);
        loop {
            if self.fill(&mut state, batch) {
                return true;
            }
            if state.is_closed {
                return false;
            }
            state.n_idle += 1;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.n_idle -= 1;
        }
    }

    fn fill(&self, state: &mut State, batch: &mut Vec<Tile>) -> bool {
        let mut n_rows = 0;
        while let Some(front) = state.waiting.front() {
            let remaining = front.request.n_rows - front.next_row;
            let n_taken = remaining.min(front.tile_rows);
            if !batch.is_empty() && (!self.by_row || n_rows + n_taken > self.max_tile_rows) {
                break;
            }
            let Some(mut front) = state.waiting.pop_front() else { break };
            if front.request.is_over() || front.request.deadline <= Instant::now() {
                state.n_rows -= remaining;
                front.request.fail(RunError::DeadlineExceeded);
                continue;
            }
            let rows = front.next_row..front.next_row + n_taken;
            batch.push(Tile {
                request: Arc::clone(&front.request),
                rows,
                index: front.next_row / front.tile_rows.max(1),
            });
            n_rows += n_taken;
            state.n_rows -= n_taken;
            front.next_row += n_taken;
            if front.next_row < front.request.n_rows {
                state.waiting.push_back(front);
                break;
            }
        }
        !batch.is_empty()
    }

    pub fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    /// How many rows wait.
    pub fn n_rows(&self) -> usize {
        lock(&self.state).n_rows
    }

    /// Lets the threads end once what waits has been run; takes nothing more.
    pub fn close(&self) {
        lock(&self.state).is_closed = true;
        self.arrived.notify_all();
    }
}

/// A panic while the lock was held leaves plain data behind, which the next holder can use.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Table, Values};

    type Receiver = oneshot::Receiver<Result<Answer, RunError>>;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    fn request(n_rows: usize, deadline: Instant) -> (Request, Receiver) {
        let table = Table { n_rows, inputs: vec![Values::Float32(vec![0.0; n_rows])] };
        Request::new(ModelInput::Rows(table), deadline)
    }

    fn push(queue: &Queue, n_rows: usize) -> Receiver {
        let (request, receiver) = request(n_rows, later());
        queue.push(request).unwrap();
        receiver
    }

    /// First row and end of each tile of the next batch.
    fn next(queue: &Queue) -> Vec<(usize, usize)> {
        let mut batch = Vec::new();
        queue.take(&mut batch);
        batch.into_iter().map(|tile| (tile.rows.start, tile.rows.end)).collect()
    }

    #[test]
    fn what_waits_is_run_together_up_to_a_tile() {
        let queue = Queue::new(8, 100, true);
        let _receivers = [3, 3, 3, 8, 1].map(|n_rows| push(&queue, n_rows));
        assert_eq!(queue.n_rows(), 18);
        assert_eq!(next(&queue), [(0, 3), (0, 3)]);
        assert_eq!(next(&queue), [(0, 3)]);
        assert_eq!(next(&queue), [(0, 8)]);
        assert_eq!(next(&queue), [(0, 1)]);
        assert_eq!(queue.n_rows(), 0);
    }

    #[test]
    fn a_large_request_is_cut_evenly_and_lets_small_ones_pass() {
        let queue = Queue::new(8, 100, true);
        let _large = push(&queue, 20);
        let _small = push(&queue, 1);
        assert_eq!(next(&queue), [(0, 7)]);
        assert_eq!(next(&queue), [(0, 1), (7, 14)]);
        assert_eq!(next(&queue), [(14, 20)]);
    }

    #[test]
    fn a_graph_that_is_not_row_wise_gets_each_request_whole() {
        let queue = Queue::new(usize::MAX, 100, false);
        let _receivers = [2, 50, 1].map(|n_rows| push(&queue, n_rows));
        assert_eq!([next(&queue), next(&queue), next(&queue)], [[(0, 2)], [(0, 50)], [(0, 1)]]);
    }

    #[test]
    fn what_nobody_waits_for_is_dropped() {
        let queue = Queue::new(8, 100, true);
        drop(push(&queue, 5));
        let (late, mut answer) = request(4, Instant::now());
        queue.push(late).unwrap();
        let _live = push(&queue, 2);
        assert_eq!(next(&queue), [(0, 2)]);
        assert_eq!(queue.n_rows(), 0);
        assert_eq!(answer.try_recv().unwrap().err(), Some(RunError::DeadlineExceeded));
    }

    #[test]
    fn the_rows_that_wait_are_bounded() {
        let queue = Queue::new(8, 10, true);
        let _first = push(&queue, 50);
        let (more, _receiver) = request(1, later());
        assert_eq!(queue.push(more), Err(RunError::QueueFull), "an empty queue takes any request, and no more then");
        while queue.n_rows() > 9 {
            next(&queue);
        }
        let _second = push(&queue, 1);
    }

    #[test]
    fn a_closed_queue_is_emptied_and_takes_nothing() {
        let queue = Queue::new(8, 100, true);
        let _waiting = push(&queue, 2);
        queue.close();
        let (more, _receiver) = request(1, later());
        assert_eq!(queue.push(more), Err(RunError::Stopped));
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch));
        batch.clear();
        assert!(!queue.take(&mut batch));
    }

    #[test]
    fn parts_that_are_done_in_any_order_are_answered_in_the_rows_order() {
        let queue = Queue::new(4, 100, true);
        let mut answer = push(&queue, 12);
        let mut tiles = Vec::new();
        for _ in 0..3 {
            queue.take(&mut tiles);
        }
        let outputs = Arc::new(Outputs { tensors: Vec::new() });
        let started = Instant::now();
        for index in [2, 0, 1] {
            assert!(answer.try_recv().is_err(), "not before the last part");
            // The first row in its run tells which part it was.
            tiles[index].answer(Arc::clone(&outputs), index..index + 4, started, started);
        }
        let slices = answer.try_recv().unwrap().unwrap().slices;
        assert_eq!(slices.iter().map(|slice| slice.rows.start).collect::<Vec<_>>(), [0, 1, 2]);
    }
}

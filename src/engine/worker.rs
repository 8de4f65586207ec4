//! The threads that own a model's sessions, and the handle by which requests reach them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::probe::{Probe, feeds, fixed_rows};
use super::queue::{Answer, Queue, Request, Tile};
use super::session::{Feed, Runner};
use super::{RunError, STOP_GRACE, Sessions};
use crate::config::ModelEngine;
use crate::contract::{Inputs, Layout, ModelInput, Output, Outputs, Table, Values};
use crate::telemetry::ModelMetrics;

/// The longest run on a caller's thread, which is an async one: half a millisecond would be too long.
const MAX_INLINE: Duration = Duration::from_micros(100);
/// After so many requests that found no other, the next is likely to be alone as well.
const ALONE_FOR_LONG: usize = 16;

/// How requests may be cut and merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// Rows of any requests together, up to that many a run.
    ByRow { max_rows: usize },
    /// Each request in one run of its own.
    WholeRequests,
}

impl Batching {
    fn new(settings: &ModelEngine, signature: &crate::contract::Signature, is_row_wise: bool) -> Self {
        match fixed_rows(signature) {
            Some(1) => Self::ByRow { max_rows: 1 },
            Some(_) => Self::WholeRequests,
            None if settings.row_wise.unwrap_or(is_row_wise) => Self::ByRow { max_rows: settings.max_batch_rows },
            None => Self::WholeRequests,
        }
    }
}

/// The way to a served model. Cheap to clone; when the last one goes, the threads end.
#[derive(Clone)]
pub struct Handle {
    served: Arc<Served>,
}

struct Served {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The first thread's session, for requests that run on their caller's thread.
    first: Arc<Mutex<Worker>>,
    /// The most rows that run there.
    max_inline_rows: usize,
    /// Requests between their arrival and their answer.
    n_present: AtomicUsize,
    /// How many requests in a row found no other.
    n_alone: AtomicUsize,
    batching: Batching,
    /// The only number of rows that the graph takes, where it fixes one above 1.
    exact_rows: Option<usize>,
}

impl Handle {
    /// Runs the input; the answer's slices are in the order of its rows. Dropping the future cancels what has not run.
    ///
    /// # Errors
    /// The queue is full, the deadline passed, the model is stopped, or the runtime failed.
    pub async fn run(&self, input: ModelInput, deadline: Instant) -> Result<Answer, RunError> {
        let present = Present::enter(&self.served);
        let (request, mut answer) = Request::new(input, deadline);
        let Some(request) = self.served.run_inline(request, present.n_alone) else {
            return answer.try_recv().unwrap_or(Err(RunError::Stopped));
        };
        self.served.queue.push(request)?;
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(RunError::Stopped),
            Err(_) => Err(RunError::DeadlineExceeded),
        }
    }

    /// Like [`Self::run`], for callers outside an async runtime.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_blocking(&self, input: ModelInput, deadline: Instant) -> Result<Answer, RunError> {
        let (request, answer) = Request::new(input, deadline);
        self.served.queue.push(request)?;
        answer.blocking_recv().unwrap_or(Err(RunError::Stopped))
    }

    pub fn batching(&self) -> Batching {
        self.served.batching
    }

    pub fn exact_rows(&self) -> Option<usize> {
        self.served.exact_rows
    }

    /// How many rows wait.
    pub fn queue_rows(&self) -> usize {
        self.served.queue.n_rows()
    }

    /// Ends the threads after what waits has been run, and waits for them, within a bounded time.
    pub fn stop(&self) {
        self.served.queue.close();
        let threads = std::mem::take(&mut *self.served.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let give_up = Instant::now() + STOP_GRACE;
        for thread in threads {
            while !thread.is_finished() && Instant::now() < give_up {
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
            if thread.is_finished() {
                // The thread catches the panics of its runs; one of its own has been reported by the panic hook.
                let _ = thread.join();
            }
        }
    }
}

impl Served {
    /// Runs a small request at once, on this thread, where callers come one at a time: two hops from thread to thread take longer
    /// than a small model does. Where several come, they do better in one batch. Gives back a request that has to queue.
    fn run_inline(&self, request: Request, n_alone: usize) -> Option<Request> {
        if n_alone < ALONE_FOR_LONG || request.n_rows > self.max_inline_rows || self.queue.is_closed() {
            return Some(request);
        }
        match self.first.try_lock() {
            Ok(mut worker) => {
                worker.run(&[Tile::whole(request)]);
                None
            }
            Err(_) => Some(request),
        }
    }
}

/// Counts a request while it is here, however it ends.
struct Present<'a> {
    served: &'a Served,
    n_alone: usize,
}

impl<'a> Present<'a> {
    fn enter(served: &'a Served) -> Self {
        if served.n_present.fetch_add(1, Ordering::Relaxed) > 0 {
            served.n_alone.store(0, Ordering::Relaxed);
            return Self { served, n_alone: 0 };
        }
        Self { served, n_alone: served.n_alone.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.served.n_present.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// How many rows fit into the time that an async thread may be held up.
fn max_inline_rows(one_row: Duration) -> usize {
    usize::try_from(MAX_INLINE.as_nanos() / one_row.as_nanos().max(1)).unwrap_or(usize::MAX)
}

/// Starts a thread for each session. Without a probe nothing is known of the model: its requests are neither cut nor merged.
///
/// # Errors
/// The system gives no more threads.
pub fn serve(
    sessions: Sessions,
    inputs: &Inputs,
    settings: &ModelEngine,
    metrics: &ModelMetrics,
    probe: Option<&Probe>,
) -> std::io::Result<Handle> {
    let signature = sessions.signature();
    let batching = Batching::new(settings, &signature, probe.is_some_and(|probe| probe.is_row_wise));
    let (max_tile_rows, by_row) = match batching {
        Batching::ByRow { max_rows } => (max_rows, true),
        Batching::WholeRequests => (usize::MAX, false),
    };
    let queue = Arc::new(Queue::new(max_tile_rows, settings.queue_rows, by_row));
    let mut threads = Vec::with_capacity(sessions.runners.len());
    let mut first = None;
    for (index, runner) in sessions.runners.into_iter().enumerate() {
        let layout = match inputs {
            Inputs::Columns(layout) => Some(Arc::clone(layout)),
            Inputs::Tensors => None,
        };
        let worker = Arc::new(Mutex::new(Worker { runner, layout, merged: None, metrics: metrics.clone() }));
        first.get_or_insert_with(|| Arc::clone(&worker));
        let queue = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name(format!("session-{index}")).spawn(move || {
            let mut batch = Vec::new();
            while queue.take(&mut batch) {
                worker.lock().unwrap_or_else(PoisonError::into_inner).run(&batch);
                batch.clear();
            }
        })?;
        threads.push(thread);
    }
    let exact_rows = fixed_rows(&signature).filter(|n_rows| *n_rows > 1);
    let first = first.ok_or_else(|| std::io::Error::other("the model has no session"))?;
    Ok(Handle {
        served: Arc::new(Served {
            queue,
            threads: Mutex::new(threads),
            first,
            max_inline_rows: probe.map_or(0, |probe| max_inline_rows(probe.one_row)).min(max_tile_rows),
            n_present: AtomicUsize::new(0),
            n_alone: AtomicUsize::new(0),
            batching,
            exact_rows,
        }),
    })
}

struct Worker {
    runner: Runner,
    layout: Option<Arc<Layout>>,
    /// Where the rows of several requests are put together; kept for its memory.
    merged: Option<Table>,
    metrics: ModelMetrics,
}

impl Worker {
    fn run(&mut self, batch: &[Tile]) {
        let n_rows = batch.iter().map(|tile| tile.rows.len()).sum();
        let started = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| self.run_together(batch, n_rows))) {
            Ok(Ok(outputs)) => {
                let ended = Instant::now();
                self.metrics.batch_rows.observe(n_rows as f64);
                let outputs = Arc::new(outputs);
                let mut first = 0;
                for tile in batch {
                    let n_rows = match &tile.request.input {
                        ModelInput::Rows(_) => tile.rows.len(),
                        // Tensors run by themselves, and what they give is all the request's.
                        ModelInput::Tensors(_) => outputs.tensors.first().map_or(0, Output::n_rows),
                    };
                    let rows = first..first + n_rows;
                    first = rows.end;
                    tile.answer(Arc::clone(&outputs), rows, started, ended);
                }
            }
            Ok(Err(error)) => self.fail(batch, error),
            Err(_) => self.fail(batch, RunError::Failed { reason: "the run panicked".to_owned() }),
        }
    }

    /// One request's bad row must not fail the others of its batch: each is run again by itself.
    fn fail(&mut self, batch: &[Tile], error: RunError) {
        match batch {
            [tile] => tile.request.fail(error),
            tiles => tiles.iter().for_each(|tile| self.run(std::slice::from_ref(tile))),
        }
    }

    fn run_together(&mut self, batch: &[Tile], n_rows: usize) -> Result<Outputs, RunError> {
        let outputs = match (batch, &self.layout) {
            ([tile], layout) => match (&tile.request.input, layout) {
                (ModelInput::Rows(table), Some(layout)) => self.runner.run(&feeds(layout, table, tile.rows.clone())),
                (ModelInput::Tensors(tensors), _) => {
                    let feeds: Vec<Feed<'_>> = tensors
                        .iter()
                        .map(|tensor| Feed { shape: tensor.shape.clone(), values: &tensor.values, start: 0 })
                        .collect();
                    self.runner.run(&feeds)
                }
                (ModelInput::Rows(_), None) => return Err(no_columns()),
            },
            (tiles, Some(layout)) => {
                let merged = self.merged.get_or_insert_with(|| empty(layout));
                merge(merged, layout, tiles);
                self.runner.run(&feeds(layout, merged, 0..n_rows))
            }
            (_, None) => return Err(no_columns()),
        };
        let outputs = outputs.map_err(|error| RunError::Failed { reason: error.to_string() })?;
        if batch.len() > 1 && outputs.tensors.iter().any(|output| output.n_rows() != n_rows) {
            let reason = "the model's outputs do not have a row for each row of the input".to_owned();
            return Err(RunError::Failed { reason });
        }
        Ok(outputs)
    }
}

fn no_columns() -> RunError {
    RunError::Failed { reason: "the model takes tensors, not rows".to_owned() }
}

fn empty(layout: &Layout) -> Table {
    let inputs = layout.inputs.iter().map(|input| Values::with_capacity(input.element, 0)).collect();
    Table { n_rows: 0, inputs }
}

fn merge(merged: &mut Table, layout: &Layout, tiles: &[Tile]) {
    for (index, (input, values)) in layout.inputs.iter().zip(&mut merged.inputs).enumerate() {
        values.clear();
        for tile in tiles {
            if let ModelInput::Rows(table) = &tile.request.input
                && let Some(from) = table.inputs.get(index)
            {
                values.extend_from(from, tile.rows.start * input.width..tile.rows.end * input.width);
            }
        }
    }
}
